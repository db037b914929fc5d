// Module entry: the engine, the memory plan, and what this machine offers.
#include <napi.h>

#include "addon/convert.h"
#include "addon/engine_wrap.h"
#include "base/cpu_features.h"

namespace gleaner {

namespace {

/// (spec, request, { backend, isa, threads }) → bytes by purpose.
Napi::Value plan_memory_js(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const DecoderSpec spec = spec_of(info[0]);
    const PlanRequest request = plan_request_of(info[1]);
    const std::unique_ptr<Ops> ops = make_ops(ops_options_of(object_of(info[2], "options")));
    return plan_object(info.Env(), plan_memory(spec, request, *ops));
  });
}

/// The instruction set that would be used, and those that this CPU has.
Napi::Value cpu_info(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    auto object = Napi::Object::New(info.Env());
    object.Set("isa", Napi::String::New(info.Env(), isa_name(best_isa())));
    return object;
  });
}

/// Canonical parameters with their shapes, as native lists them: [{ name, rows, cols }].
Napi::Value parameter_shapes(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&]() -> Napi::Value {
    const std::vector<Parameter> list = list_parameters(spec_of(info[0]));
    auto array = Napi::Array::New(info.Env(), list.size());
    for (size_t i = 0; i < list.size(); ++i) {
      auto object = Napi::Object::New(info.Env());
      object.Set("name", Napi::String::New(info.Env(), list[i].name));
      object.Set("rows", Napi::Number::New(info.Env(), static_cast<double>(list[i].rows)));
      object.Set("cols", Napi::Number::New(info.Env(), static_cast<double>(list[i].cols)));
      array.Set(static_cast<uint32_t>(i), object);
    }
    return array;
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("NativeEngine", EngineWrap::define(env));
  exports.Set("planMemory", Napi::Function::New(env, plan_memory_js));
  exports.Set("cpuInfo", Napi::Function::New(env, cpu_info));
  exports.Set("parameterShapes", Napi::Function::New(env, parameter_shapes));
  return exports;
}

}  // namespace

}  // namespace gleaner

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) { return gleaner::init(env, exports); }

NODE_API_MODULE(gleaner, init_addon)
