// The engine as JavaScript sees it: one method a command, each answered by { promise, task }.
#pragma once
#include <napi.h>

#include <memory>

#include "addon/engine_thread.h"
#include "engine/engine.h"

namespace gleaner {

class EngineWrap : public Napi::ObjectWrap<EngineWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit EngineWrap(const Napi::CallbackInfo& info);

 private:
  template <class T, class Work, class ToValue>
  Napi::Value submit(const Napi::CallbackInfo& info, Work work, ToValue to_value);
  template <class Work>
  Napi::Value submit_void(const Napi::CallbackInfo& info, Work work);

  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value fill_random(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value load_state(const Napi::CallbackInfo& info);
  Napi::Value training_state(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value put_weights_aside(const Napi::CallbackInfo& info);
  Napi::Value bring_weights_back(const Napi::CallbackInfo& info);
  Napi::Value remember_round(const Napi::CallbackInfo& info);
  Napi::Value swap_round(const Napi::CallbackInfo& info);
  Napi::Value prepare_training(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value update(const Napi::CallbackInfo& info);
  Napi::Value accumulate(const Napi::CallbackInfo& info);
  Napi::Value clear_gradients(const Napi::CallbackInfo& info);
  Napi::Value forward(const Napi::CallbackInfo& info);
  Napi::Value backward(const Napi::CallbackInfo& info);
  Napi::Value step(const Napi::CallbackInfo& info);
  Napi::Value reset_optimizer(const Napi::CallbackInfo& info);
  Napi::Value generate(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  void cancel(const Napi::CallbackInfo& info);
  void stop_prompt(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::unique_ptr<Engine> engine_;        // touched by the thread alone, once it runs
  std::unique_ptr<EngineThread> thread_;  // destroyed first: joins
};

}  // namespace gleaner
