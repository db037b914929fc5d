// Arguments are converted on the JS thread, the work runs on the engine thread, the result is made on the JS thread
// again.
#include "addon/engine_wrap.h"

#include <utility>

#include "addon/convert.h"

namespace gleaner {

namespace {

Napi::Value step_object(Napi::Env env, const StepResult& result) {
  auto object = Napi::Object::New(env);
  object.Set("loss", Napi::Number::New(env, result.loss));
  object.Set("grad_norm", Napi::Number::New(env, result.grad_norm));
  object.Set("skipped", Napi::Boolean::New(env, result.skipped));
  object.Set("num_tokens", Napi::Number::New(env, static_cast<double>(result.num_tokens)));
  object.Set("num_targets", Napi::Number::New(env, static_cast<double>(result.num_targets)));
  auto sums = Napi::Float64Array::New(env, result.sequence_logprobs.size());
  std::copy(result.sequence_logprobs.begin(), result.sequence_logprobs.end(), sums.Data());
  object.Set("sequence_logprobs", sums);
  return object;
}

const char* finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::eos:
      return "eos";
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
  }
  return "";
}

Napi::Value responses_array(Napi::Env env, const std::vector<Response>& responses) {
  auto array = Napi::Array::New(env, responses.size());
  for (size_t i = 0; i < responses.size(); ++i) {
    const Napi::HandleScope scope(env);
    const Response& response = responses[i];
    auto ids = Napi::Int32Array::New(env, response.ids.size());
    std::copy(response.ids.begin(), response.ids.end(), ids.Data());
    auto object = Napi::Object::New(env);
    object.Set("response_ids", ids);
    object.Set("token_logprobs", float_array(env, response.logprobs));
    object.Set("full_logprobs", float_array(env, response.full_logprobs));
    object.Set("finish_reason", Napi::String::New(env, finish_reason_name(response.finish_reason)));
    array.Set(static_cast<uint32_t>(i), object);
  }
  return array;
}

}  // namespace

Napi::Function EngineWrap::define(Napi::Env env) {
  return DefineClass(env, "NativeEngine",
                     {InstanceMethod<&EngineWrap::load>("load"),
                      InstanceMethod<&EngineWrap::fill_random>("fillRandom"),
                      InstanceMethod<&EngineWrap::save>("save"),
                      InstanceMethod<&EngineWrap::load_state>("loadState"),
                      InstanceMethod<&EngineWrap::training_state>("trainingState"),
                      InstanceMethod<&EngineWrap::read>("read"),
                      InstanceMethod<&EngineWrap::write>("write"),
                      InstanceMethod<&EngineWrap::put_weights_aside>("putWeightsAside"),
                      InstanceMethod<&EngineWrap::bring_weights_back>("bringWeightsBack"),
                      InstanceMethod<&EngineWrap::remember_round>("rememberRound"),
                      InstanceMethod<&EngineWrap::swap_round>("swapRound"),
                      InstanceMethod<&EngineWrap::prepare_training>("prepareTraining"),
                      InstanceMethod<&EngineWrap::score>("score"),
                      InstanceMethod<&EngineWrap::logits>("logits"),
                      InstanceMethod<&EngineWrap::update>("update"),
                      InstanceMethod<&EngineWrap::accumulate>("accumulate"),
                      InstanceMethod<&EngineWrap::clear_gradients>("clearGradients"),
                      InstanceMethod<&EngineWrap::forward>("forward"),
                      InstanceMethod<&EngineWrap::backward>("backward"),
                      InstanceMethod<&EngineWrap::step>("step"),
                      InstanceMethod<&EngineWrap::reset_optimizer>("resetOptimizer"),
                      InstanceMethod<&EngineWrap::generate>("generate"),
                      InstanceMethod<&EngineWrap::memory>("memory"),
                      InstanceMethod<&EngineWrap::cancel>("cancel"),
                      InstanceMethod<&EngineWrap::stop_prompt>("stopPrompt"),
                      InstanceMethod<&EngineWrap::close>("close")});
}

EngineWrap::EngineWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineWrap>(info) {
  const Napi::Env env = info.Env();
  const Napi::Object options = object_of(info[0], "options");
  with_js_errors(env, [&] {
    engine_ = std::make_unique<Engine>(
        EngineOptions{.spec = spec_of(options.Get("spec")),
                      .ops = ops_options_of(options),
                      .memory_limit_bytes = static_cast<size_t>(integer_of(options, "memory_limit_bytes"))});
  });
  // While commands are pending the wrapper must outlive them, even when JS has dropped it.
  with_js_errors(env, [&] {
    thread_ = std::make_unique<EngineThread>(
        env, [this](bool pending) { pending ? static_cast<void>(Ref()) : static_cast<void>(Unref()); },
        [this] { engine_.reset(); });
  });
}

template <class T, class Work, class ToValue>
Napi::Value EngineWrap::submit(const Napi::CallbackInfo& info, Work work, ToValue to_value) {
  auto task = std::make_unique<Task>(info.Env());
  auto value = std::make_shared<T>();
  task->work = [value, work = std::move(work)](Task& running) { *value = work(running); };
  task->result = [value, to_value](Napi::Env env) -> Napi::Value { return to_value(env, *value); };
  return thread_->submit(info.Env(), std::move(task));
}

template <class Work>
Napi::Value EngineWrap::submit_void(const Napi::CallbackInfo& info, Work work) {
  auto task = std::make_unique<Task>(info.Env());
  task->work = [work = std::move(work)](Task& running) { work(running); };
  return thread_->submit(info.Env(), std::move(task));
}

Napi::Value EngineWrap::load(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&] {
    return submit_void(info, [this, files = strings_of(info[0], "files"), pieces = load_pieces_of(info[1])](Task&) {
      engine_->load(files, pieces);
    });
  });
}

Napi::Value EngineWrap::fill_random(const Napi::CallbackInfo& info) {
  const Napi::Object options = object_of(info[0], "options");
  return submit_void(info, [this, seed = static_cast<uint64_t>(integer_of(options, "seed")),
                            stddev = number_of(options, "stddev")](Task&) { engine_->fill_random(seed, stddev); });
}

Napi::Value EngineWrap::save(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&] {
    const std::optional<uint64_t> digits_at = place_of(info[3]);
    return submit_void(info, [this, path = text_of(info[0], "path"), header = bytes_of(info[1], "header"),
                              pieces = save_pieces_of(info[2]), digits_at](Task& task) {
      engine_->save(path, header, pieces, digits_at, [&task] { task.check_abort(); });
    });
  });
}

Napi::Value EngineWrap::load_state(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&] {
    const Napi::Object file = object_of(info[0], "file");
    const auto digits_at = static_cast<uint64_t>(integer_of(file, "digits_at"));
    const auto crc = static_cast<uint32_t>(integer_of(file, "crc32"));
    std::optional<int64_t> num_steps;
    if (info[2].IsNumber()) num_steps = static_cast<int64_t>(*place_of(info[2]));
    return submit_void(info, [this, path = string_of(file, "path"), digits_at, crc, pieces = load_pieces_of(info[1]),
                              num_steps](Task& task) {
      engine_->load_state(path, digits_at, crc, pieces, num_steps, [&task] { task.check_abort(); });
    });
  });
}

Napi::Value EngineWrap::training_state(const Napi::CallbackInfo& info) {
  return submit<TrainingState>(
      info, [this](Task&) { return engine_->training_state(); },
      [](Napi::Env env, const TrainingState& state) {
        auto names = Napi::Array::New(env, state.states.size());
        for (size_t i = 0; i < state.states.size(); ++i) names.Set(static_cast<uint32_t>(i), state.states[i]);
        auto object = Napi::Object::New(env);
        object.Set("optimizer", state.optimizer);
        object.Set("num_steps", static_cast<double>(state.num_steps));
        object.Set("states", names);
        return object;
      });
}

Napi::Value EngineWrap::read(const Napi::CallbackInfo& info) {
  return submit<std::vector<float>>(
      info,
      [this, name = info[0].ToString().Utf8Value(), gradient = info[1].ToBoolean().Value()](Task&) {
        return engine_->read(name, gradient);
      },
      [](Napi::Env env, const std::vector<float>& values) { return float_array(env, values); });
}

Napi::Value EngineWrap::write(const Napi::CallbackInfo& info) {
  return submit_void(info, [this, name = info[0].ToString().Utf8Value(), values = floats_of(info[1], "values")](Task&) {
    engine_->write(name, values);
  });
}

Napi::Value EngineWrap::put_weights_aside(const Napi::CallbackInfo& info) {
  return submit_void(info, [this](Task&) { engine_->put_weights_aside(); });
}
Napi::Value EngineWrap::bring_weights_back(const Napi::CallbackInfo& info) {
  return submit_void(info, [this](Task&) { engine_->bring_weights_back(); });
}
Napi::Value EngineWrap::remember_round(const Napi::CallbackInfo& info) {
  return submit_void(info, [this](Task&) { engine_->remember_round(); });
}
Napi::Value EngineWrap::swap_round(const Napi::CallbackInfo& info) {
  return submit_void(info, [this](Task&) { engine_->swap_round(); });
}

Napi::Value EngineWrap::prepare_training(const Napi::CallbackInfo& info) {
  return submit_void(
      info, [this, settings = training_of(object_of(info[0], "settings")), optimizer = optimizer_of(info[1])](Task&) {
        engine_->prepare_training(settings, optimizer);
      });
}

Napi::Value EngineWrap::score(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&] {
    return submit<std::vector<ForwardResult>>(
        info,
        [this, batches = micro_batches_of(info[0])](Task& task) {
          std::vector<ForwardResult> results;
          for (const MicroBatch& batch : batches) {
            task.check_abort();
            results.push_back(engine_->score(batch, true));
          }
          return results;
        },
        [](Napi::Env env, const std::vector<ForwardResult>& results) {
          auto array = Napi::Array::New(env, results.size());
          for (size_t i = 0; i < results.size(); ++i) {
            auto greedy = Napi::Uint8Array::New(env, results[i].greedy.size());
            std::copy(results[i].greedy.begin(), results[i].greedy.end(), greedy.Data());
            auto object = Napi::Object::New(env);
            object.Set("logprobs", float_array(env, results[i].logprobs));
            object.Set("greedy", greedy);
            array.Set(static_cast<uint32_t>(i), object);
          }
          return array;
        });
  });
}

Napi::Value EngineWrap::logits(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&] {
    return submit<std::vector<float>>(
        info,
        [this, batch = micro_batch_of(info[0]), rows = int32s_of(info[1], "rows")](Task&) {
          return engine_->logits(batch, rows);
        },
        [](Napi::Env env, const std::vector<float>& values) { return float_array(env, values); });
  });
}

Napi::Value EngineWrap::update(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&] {
    return submit<StepResult>(
        info,
        [this, batches = micro_batches_of(info[0]), objective = objective_of(info[1]), step = step_of(info[2])](
            Task& task) { return engine_->update(batches, objective, step, [&task] { task.check_abort(); }); },
        step_object);
  });
}

Napi::Value EngineWrap::accumulate(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&] {
    return submit<StepResult>(
        info,
        [this, batches = micro_batches_of(info[0]), objective = objective_of(info[1])](Task& task) {
          return engine_->accumulate(batches, objective, [&task] { task.check_abort(); });
        },
        step_object);
  });
}

Napi::Value EngineWrap::clear_gradients(const Napi::CallbackInfo& info) {
  return submit_void(info, [this](Task&) { engine_->clear_gradients(); });
}

Napi::Value EngineWrap::forward(const Napi::CallbackInfo& info) {
  return with_js_errors(info.Env(), [&] {
    return submit<std::vector<float>>(
        info, [this, batch = micro_batch_of(info[0])](Task&) { return engine_->forward(batch); },
        [](Napi::Env env, const std::vector<float>& values) { return float_array(env, values); });
  });
}

Napi::Value EngineWrap::backward(const Napi::CallbackInfo& info) {
  return submit_void(info,
                     [this, dlogprobs = floats_of(info[0], "dlogprobs")](Task&) { engine_->backward(dlogprobs); });
}

Napi::Value EngineWrap::step(const Napi::CallbackInfo& info) {
  return submit<StepResult>(
      info,
      [this, loss = info[0].ToNumber().DoubleValue(), settings = step_of(info[1])](Task&) {
        return engine_->step(loss, settings);
      },
      step_object);
}

Napi::Value EngineWrap::reset_optimizer(const Napi::CallbackInfo& info) {
  return submit_void(info, [this](Task&) { engine_->reset_optimizer(); });
}

Napi::Value EngineWrap::generate(const Napi::CallbackInfo& info) {
  auto task = std::make_unique<Task>(info.Env());
  if (info[4].IsFunction()) {
    task->on_tokens = Napi::Persistent(info[4].As<Napi::Function>());
    task->wants_tokens = true;
  }
  auto responses = std::make_shared<std::vector<Response>>();
  task->work = [this, responses, prompts = prompts_of(info[0], info[1], info[2]),
                settings = generate_settings_of(info[3])](Task& running) {
    GenerateCallbacks callbacks;
    callbacks.check_abort = [&running] { running.check_abort(); };
    if (running.wants_tokens) {
      callbacks.on_tokens = running.send_tokens;
      callbacks.stopped = [&running](int32_t prompt) { return running.is_stopped(prompt); };
    }
    *responses = engine_->generate(prompts, settings, callbacks);
  };
  task->result = [responses](Napi::Env env) { return responses_array(env, *responses); };
  return thread_->submit(info.Env(), std::move(task));
}

Napi::Value EngineWrap::memory(const Napi::CallbackInfo& info) {
  return submit<std::pair<size_t, size_t>>(
      info,
      [this](Task&) {
        return std::pair{engine_->memory().current_bytes(), engine_->memory().peak_bytes()};
      },
      [](Napi::Env env, const std::pair<size_t, size_t>& bytes) {
        auto object = Napi::Object::New(env);
        object.Set("current_bytes", Napi::Number::New(env, static_cast<double>(bytes.first)));
        object.Set("peak_bytes", Napi::Number::New(env, static_cast<double>(bytes.second)));
        return object;
      });
}

void EngineWrap::cancel(const Napi::CallbackInfo& info) { thread_->cancel(info[0].ToNumber().Uint32Value()); }
void EngineWrap::stop_prompt(const Napi::CallbackInfo& info) {
  thread_->stop_prompt(info[0].ToNumber().Uint32Value(), info[1].ToNumber().Int32Value());
}
Napi::Value EngineWrap::close(const Napi::CallbackInfo& info) { return thread_->close(info.Env()); }

}  // namespace gleaner
