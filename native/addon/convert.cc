// One function a type. The TypeScript façade sends well-formed values; these checks keep a wrong one from reaching the
// engine.
#include "addon/convert.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace gleaner {

namespace {

Napi::Error wrong(Napi::Env env, const std::string& what, const char* expected) {
  Napi::Error error = Napi::TypeError::New(env, what + ": expected " + expected);
  error.Set("code", Napi::String::New(env, "ERR_GLEANER_INTERNAL"));
  return error;
}

Napi::Array array_of(const Napi::Value& value, const char* what) {
  if (!value.IsArray()) throw wrong(value.Env(), what, "an array");
  return value.As<Napi::Array>();
}

template <class Array, class T>
std::vector<T> typed_array(const Napi::Value& value, napi_typedarray_type type, const char* what,
                           const char* expected) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type)
    throw wrong(value.Env(), what, expected);
  const auto array = value.As<Array>();
  return std::vector<T>(array.Data(), array.Data() + array.ElementLength());
}

template <class T, class Read>
std::vector<T> list_of(const Napi::Value& value, const char* what, Read read) {
  const Napi::Array array = array_of(value, what);
  std::vector<T> list;
  list.reserve(array.Length());
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    list.push_back(read(array.Get(i)));
  }
  return list;
}

}  // namespace

Napi::Object object_of(const Napi::Value& value, const char* what) {
  if (!value.IsObject()) throw wrong(value.Env(), what, "an object");
  return value.As<Napi::Object>();
}

double number_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsNumber()) throw wrong(object.Env(), key, "a number");
  return value.As<Napi::Number>().DoubleValue();
}

int64_t integer_of(const Napi::Object& object, const char* key) {
  const double value = number_of(object, key);
  if (!(std::abs(value) <= 9007199254740991.0) || std::floor(value) != value)
    throw wrong(object.Env(), key, "an integer");
  return static_cast<int64_t>(value);
}

int64_t size_of(const Napi::Object& object, const char* key) {
  const int64_t value = integer_of(object, key);
  if (value < 1 || value > INT32_MAX) throw wrong(object.Env(), key, "a number from 1 to 2^31 - 1");
  return value;
}

bool boolean_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsBoolean()) throw wrong(object.Env(), key, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

std::string string_of(const Napi::Object& object, const char* key) { return text_of(object.Get(key), key); }

std::string text_of(const Napi::Value& value, const char* what) {
  if (!value.IsString()) throw wrong(value.Env(), what, "a string");
  return value.As<Napi::String>().Utf8Value();
}

std::optional<uint64_t> place_of(const Napi::Value& value) {
  if (value.IsUndefined()) return {};
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= 9007199254740991.0) || std::floor(number) != number)
    throw wrong(value.Env(), "place", "a whole number from 0");
  return static_cast<uint64_t>(number);
}

std::vector<std::byte> bytes_of(const Napi::Value& value, const char* what) {
  const std::vector<uint8_t> bytes =
      typed_array<Napi::Uint8Array, uint8_t>(value, napi_uint8_array, what, "a Uint8Array");
  const auto* data = reinterpret_cast<const std::byte*>(bytes.data());
  return {data, data + bytes.size()};
}

std::vector<std::string> strings_of(const Napi::Value& value, const char* what) {
  return list_of<std::string>(value, what, [&](const Napi::Value& item) {
    if (!item.IsString()) throw wrong(item.Env(), what, "strings");
    return item.As<Napi::String>().Utf8Value();
  });
}

std::vector<int32_t> int32s_of(const Napi::Value& value, const char* what) {
  return typed_array<Napi::Int32Array, int32_t>(value, napi_int32_array, what, "an Int32Array");
}
std::vector<float> floats_of(const Napi::Value& value, const char* what) {
  return typed_array<Napi::Float32Array, float>(value, napi_float32_array, what, "a Float32Array");
}
std::vector<double> doubles_of(const Napi::Value& value, const char* what) {
  return typed_array<Napi::Float64Array, double>(value, napi_float64_array, what, "a Float64Array");
}

DecoderSpec spec_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "spec");
  DecoderSpec spec;
  spec.vocab = integer_of(object, "vocab");
  spec.hidden = integer_of(object, "hidden");
  spec.layers = integer_of(object, "layers");
  spec.heads = integer_of(object, "heads");
  spec.kv_heads = integer_of(object, "kv_heads");
  spec.head_dim = integer_of(object, "head_dim");
  spec.intermediate = integer_of(object, "intermediate");
  spec.norm = string_of(object, "norm") == "layer_norm" ? NormKind::layer_norm : NormKind::rms_norm;
  spec.norm_eps = number_of(object, "norm_eps");
  spec.mlp = string_of(object, "mlp") == "gelu" ? MlpKind::gelu : MlpKind::swiglu;
  spec.parallel_residual = boolean_of(object, "parallel_residual");
  spec.qkv_bias = boolean_of(object, "qkv_bias");
  spec.attention_output_bias = boolean_of(object, "attention_output_bias");
  spec.mlp_bias = boolean_of(object, "mlp_bias");
  spec.tied_head = boolean_of(object, "tied_head");
  spec.rotary_dim = integer_of(object, "rotary_dim");
  spec.inverse_frequencies =
      list_of<double>(object.Get("inverse_frequencies"), "inverse_frequencies",
                      [](const Napi::Value& item) { return item.As<Napi::Number>().DoubleValue(); });
  spec.sliding_window = integer_of(object, "sliding_window");
  spec.max_positions = integer_of(object, "max_positions");
  const auto in_range = [](int64_t size) { return size > 0 && size <= (int64_t{1} << 24); };
  for (const int64_t size : {spec.vocab, spec.hidden, spec.layers, spec.heads, spec.kv_heads, spec.head_dim,
                             spec.intermediate, spec.max_positions}) {
    if (!in_range(size)) throw wrong(object.Env(), "spec", "sizes between 1 and 2^24");
  }
  if (spec.heads % spec.kv_heads != 0) throw wrong(object.Env(), "spec.heads", "a multiple of kv_heads");
  if (spec.rotary_dim < 0 || spec.rotary_dim > spec.head_dim || spec.rotary_dim % 2 != 0 ||
      static_cast<int64_t>(spec.inverse_frequencies.size()) != spec.rotary_dim / 2) {
    throw wrong(object.Env(), "spec.rotary_dim", "an even number up to head_dim with half as many inverse_frequencies");
  }
  return spec;
}

OpsOptions ops_options_of(const Napi::Object& object) {
  return {.backend = string_of(object, "backend"),
          .isa = string_of(object, "isa"),
          .threads = static_cast<int>(integer_of(object, "threads"))};
}

DType dtype_of(const std::string& name) {
  if (name == "F32") return DType::f32;
  if (name == "F16") return DType::f16;
  if (name == "BF16") return DType::bf16;
  throw Error("ERR_GLEANER_INTERNAL", "there is no dtype " + name);
}

namespace {

Block block_of(const Napi::Object& object) {
  const std::string name = string_of(object, "block");
  if (name == "weights") return Block::weights;
  if (name == "round") return Block::round;
  if (name == "optimizer") return Block::optimizer;
  throw Error("ERR_GLEANER_INTERNAL", "there is no block " + name);
}

/// { parameter, row, rows } and, for another block than the weights, { block, state }.
BlockRows block_rows_of(const Napi::Object& object) {
  BlockRows rows{.parameter = string_of(object, "parameter"),
                 .row = integer_of(object, "row"),
                 .rows = integer_of(object, "rows")};
  if (!object.Has("block")) return rows;
  rows.block = block_of(object);
  rows.state = static_cast<int32_t>(std::clamp<int64_t>(integer_of(object, "state"), -1, INT32_MAX));
  return rows;
}

}  // namespace

std::vector<LoadPiece> load_pieces_of(const Napi::Value& value) {
  return list_of<LoadPiece>(value, "pieces", [](const Napi::Value& item) {
    const Napi::Object object = object_of(item, "piece");
    const int64_t offset = integer_of(object, "offset");
    if (offset < 0) throw wrong(item.Env(), "offset", "a place in a file");
    LoadPiece piece;
    static_cast<BlockRows&>(piece) = block_rows_of(object);
    piece.file = static_cast<int32_t>(integer_of(object, "file"));
    piece.offset = static_cast<uint64_t>(offset);
    piece.dtype = dtype_of(string_of(object, "dtype"));
    return piece;
  });
}

std::vector<SavePiece> save_pieces_of(const Napi::Value& value) {
  return list_of<SavePiece>(value, "pieces", [](const Napi::Value& item) {
    const Napi::Object object = object_of(item, "piece");
    SavePiece piece;
    static_cast<BlockRows&>(piece) = block_rows_of(object);
    piece.dtype = dtype_of(string_of(object, "dtype"));
    return piece;
  });
}

MicroBatch micro_batch_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "micro_batch");
  MicroBatch batch;
  batch.ids = int32s_of(object.Get("ids"), "ids");
  const std::vector<int32_t> segments = int32s_of(object.Get("segments"), "segments");        // length, parent
  const std::vector<int32_t> targets = int32s_of(object.Get("targets"), "targets");           // row, token
  const std::vector<int32_t> sequences = int32s_of(object.Get("sequences"), "sequences");     // begin, count
  const std::vector<int32_t> pairs = int32s_of(object.Get("pairs"), "pairs");                 // real, generated
  const std::vector<double> references = doubles_of(object.Get("references"), "references");  // ref_real, ref_generated
  if (segments.size() % 2 != 0 || targets.size() % 2 != 0 || sequences.size() % 2 != 0 || pairs.size() % 2 != 0 ||
      references.size() != pairs.size()) {
    throw wrong(object.Env(), "micro_batch", "pairs of numbers");
  }
  std::vector<SegmentSpec> specs;
  for (size_t i = 0; i < segments.size(); i += 2) specs.push_back({.length = segments[i], .parent = segments[i + 1]});
  batch.forest = make_forest(specs);
  for (size_t i = 0; i < targets.size(); i += 2) batch.targets.push_back({.row = targets[i], .token = targets[i + 1]});
  for (size_t i = 0; i < sequences.size(); i += 2)
    batch.sequences.push_back({.begin = sequences[i], .count = sequences[i + 1]});
  for (size_t i = 0; i < pairs.size(); i += 2) {
    batch.pairs.push_back(
        {.real = pairs[i], .generated = pairs[i + 1], .ref_real = references[i], .ref_generated = references[i + 1]});
  }
  return batch;
}

std::vector<MicroBatch> micro_batches_of(const Napi::Value& value) {
  return list_of<MicroBatch>(value, "micro_batches", micro_batch_of);
}

ObjectiveSettings objective_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "objective");
  return {.name = string_of(object, "name"),
          .loss = string_of(object, "loss"),
          .beta = number_of(object, "beta"),
          .nll_weight = number_of(object, "nll_weight"),
          .denominator = number_of(object, "denominator"),
          .nll_denominator = number_of(object, "nll_denominator")};
}

StepSettings step_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "step");
  return {.learning_rate = number_of(object, "learning_rate"), .max_grad_norm = number_of(object, "max_grad_norm")};
}

TrainingSettings training_of(const Napi::Object& object) {
  TrainingSettings settings;
  settings.optimizer = string_of(object, "optimizer");
  settings.activations =
      string_of(object, "activations") == "recompute" ? ActivationPolicy::recompute : ActivationPolicy::keep;
  settings.micro_batch_tokens = size_of(object, "micro_batch_tokens");
  settings.max_length = size_of(object, "max_length");
  return settings;
}

OptimizerSettings optimizer_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "optimizer");
  return {.name = string_of(object, "name"),
          .beta1 = number_of(object, "beta1"),
          .beta2 = number_of(object, "beta2"),
          .alpha = number_of(object, "alpha"),
          .eps = number_of(object, "eps"),
          .weight_decay = number_of(object, "weight_decay")};
}

std::vector<Prompt> prompts_of(const Napi::Value& ids, const Napi::Value& lengths, const Napi::Value& sample_ids) {
  const std::vector<int32_t> all = int32s_of(ids, "ids");
  const std::vector<int32_t> counts = int32s_of(lengths, "lengths");
  const std::vector<double> samples = doubles_of(sample_ids, "sample_ids");
  if (counts.size() != samples.size()) throw wrong(ids.Env(), "sample_ids", "one a prompt");
  std::vector<Prompt> prompts;
  size_t begin = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto count = static_cast<size_t>(counts[i]);
    if (counts[i] < 0 || begin + count > all.size())
      throw wrong(ids.Env(), "lengths", "the lengths of the prompts in ids");
    if (!(samples[i] >= 0 && samples[i] <= 9007199254740991.0)) throw wrong(ids.Env(), "sample_ids", "numbers from 0");
    const auto first = all.begin() + static_cast<std::ptrdiff_t>(begin);
    prompts.push_back({.ids = {first, first + counts[i]}, .sample_id = static_cast<uint64_t>(samples[i])});
    begin += count;
  }
  return prompts;
}

GenerateSettings generate_settings_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "settings");
  GenerateSettings settings;
  settings.max_new_tokens = integer_of(object, "max_new_tokens");
  settings.temperature = static_cast<float>(number_of(object, "temperature"));
  settings.top_p = static_cast<float>(number_of(object, "top_p"));
  const int64_t top_k = integer_of(object, "top_k");
  if (top_k < 0 || top_k > INT32_MAX) throw wrong(object.Env(), "top_k", "a number from 0 to 2^31 - 1");
  settings.top_k = static_cast<int32_t>(top_k);
  settings.seed = static_cast<uint64_t>(integer_of(object, "seed"));
  settings.eos_ids = int32s_of(object.Get("eos_ids"), "eos_ids");
  settings.stop_ids = int32s_of(object.Get("stop_ids"), "stop_ids");
  settings.batch_size = size_of(object, "batch_size");
  settings.max_length = size_of(object, "max_length");
  settings.prefill_tokens = size_of(object, "prefill_tokens");
  return settings;
}

PlanRequest plan_request_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "request");
  PlanRequest request;
  if (const Napi::Value training = object.Get("training"); training.IsObject()) {
    request.training = true;
    request.train = training_of(training.As<Napi::Object>());
  }
  if (const Napi::Value generation = object.Get("generation"); generation.IsObject()) {
    const auto sizes = generation.As<Napi::Object>();
    request.generation = true;
    request.generate = {.batch_size = size_of(sizes, "batch_size"),
                        .max_length = size_of(sizes, "max_length"),
                        .prefill_tokens = size_of(sizes, "prefill_tokens")};
  }
  return request;
}

Napi::Float32Array float_array(Napi::Env env, std::span<const float> values) {
  auto array = Napi::Float32Array::New(env, values.size());
  std::copy(values.begin(), values.end(), array.Data());
  return array;
}

Napi::Object plan_object(Napi::Env env, const MemoryPlan& plan) {
  auto object = Napi::Object::New(env);
  object.Set("total_bytes", Napi::Number::New(env, static_cast<double>(plan.total())));
  for (size_t i = 0; i < kNumPurposes; ++i) {
    object.Set(purpose_name(static_cast<Purpose>(i)), Napi::Number::New(env, static_cast<double>(plan.bytes[i])));
  }
  return object;
}

}  // namespace gleaner
