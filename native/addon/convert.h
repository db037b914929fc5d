// JavaScript values → checked C++ values. Sizes are checked here, where they enter; a wrong type is a TypeError that
// names the field.
#pragma once
#include <napi.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"

namespace gleaner {

/// Runs body; a native error (while converting, constructing, planning) becomes a JS error with its code.
template <class Body>
auto with_js_errors(Napi::Env env, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const Error& error) {
    Napi::Error js = Napi::Error::New(env, error.what());
    js.Set("code", Napi::String::New(env, error.code));
    js.Set("hint", Napi::String::New(env, error.hint));
    throw js;
  }
}

Napi::Object object_of(const Napi::Value& value, const char* what);
double number_of(const Napi::Object& object, const char* key);
int64_t integer_of(const Napi::Object& object, const char* key);
/// A count of tokens or sequences: from 1 to 2^31 - 1.
int64_t size_of(const Napi::Object& object, const char* key);
bool boolean_of(const Napi::Object& object, const char* key);
std::string string_of(const Napi::Object& object, const char* key);
std::string text_of(const Napi::Value& value, const char* what);
/// A whole number from 0, or nothing for undefined.
std::optional<uint64_t> place_of(const Napi::Value& value);
std::vector<std::byte> bytes_of(const Napi::Value& value, const char* what);
std::vector<std::string> strings_of(const Napi::Value& value, const char* what);
/// Copies, so that the caller may do what it likes with the array afterwards.
std::vector<int32_t> int32s_of(const Napi::Value& value, const char* what);
std::vector<float> floats_of(const Napi::Value& value, const char* what);
std::vector<double> doubles_of(const Napi::Value& value, const char* what);

DecoderSpec spec_of(const Napi::Value& value);
OpsOptions ops_options_of(const Napi::Object& object);
DType dtype_of(const std::string& name);
std::vector<LoadPiece> load_pieces_of(const Napi::Value& value);
std::vector<SavePiece> save_pieces_of(const Napi::Value& value);
MicroBatch micro_batch_of(const Napi::Value& value);
std::vector<MicroBatch> micro_batches_of(const Napi::Value& value);
ObjectiveSettings objective_of(const Napi::Value& value);
StepSettings step_of(const Napi::Value& value);
TrainingSettings training_of(const Napi::Object& object);
OptimizerSettings optimizer_of(const Napi::Value& value);
std::vector<Prompt> prompts_of(const Napi::Value& ids, const Napi::Value& lengths, const Napi::Value& sample_ids);
GenerateSettings generate_settings_of(const Napi::Value& value);
PlanRequest plan_request_of(const Napi::Value& value);

Napi::Float32Array float_array(Napi::Env env, std::span<const float> values);
Napi::Object plan_object(Napi::Env env, const MemoryPlan& plan);

}  // namespace gleaner
