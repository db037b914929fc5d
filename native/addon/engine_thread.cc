// The one place where native errors become JavaScript's. References to JS values are touched on the JS thread only.
#include "addon/engine_thread.h"

#include <new>
#include <system_error>
#include <utility>

namespace gleaner {

EngineThread::EngineThread(Napi::Env env, std::function<void(bool)> on_pending, std::function<void()> on_close)
    : env_(env), on_pending_(std::move(on_pending)), on_close_(std::move(on_close)) {
  channel_ = Channel::New(env, "gleaner.engine", 0, 1, this);
  channel_.Unref(env);  // an idle engine does not hold the process open
  // Hooks run last-in first-out: ours, registered after the channel's own, still finds the channel alive.
  napi_add_env_cleanup_hook(env, &EngineThread::on_environment_exit, this);
  try {
    thread_ = std::thread([this] { loop(); });
  } catch (const std::system_error& error) {
    napi_remove_env_cleanup_hook(env, &EngineThread::on_environment_exit, this);
    channel_.Release();
    throw Error("ERR_GLEANER_USAGE", std::string("the machine gave no thread for the engine: ") + error.what(),
                "set threads lower");
  }
}

EngineThread::~EngineThread() {
  begin_stop();
  join();
  if (!environment_gone_) napi_remove_env_cleanup_hook(env_, &EngineThread::on_environment_exit, this);
}

void EngineThread::on_environment_exit(void* pointer) {
  auto* self = static_cast<EngineThread*>(pointer);
  self->environment_gone_ = true;
  self->begin_stop();
  self->join();
  self->live_.clear();  // the channel drops what it still holds, without a word to us
}

void EngineThread::begin_stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [id, task] : live_) task->cancelled = true;
  }
  wake_.notify_all();
}

void EngineThread::join() {
  if (joined_) return;
  joined_ = true;
  if (thread_.joinable()) thread_.join();
  channel_.Release();
}

void EngineThread::loop() {
  for (;;) {
    Task* task = nullptr;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) break;
      task = queue_.front();
      queue_.pop_front();
    }
    run(*task);
    auto message = std::make_unique<Message>();
    message->task = task;
    message->settled = true;
    if (channel_.NonBlockingCall(message.get()) == napi_ok) {
      static_cast<void>(message.release());
    } else {  // the environment is going away: nobody is left to tell
      task->on_tokens.SuppressDestruct();
      task->thrown.SuppressDestruct();
      const std::unique_ptr<Task> dropped(task);
      const std::lock_guard lock(mutex_);
      live_.erase(task->id);
    }
  }
  // Only close() is told: it holds the owner until the message is in. A destructor leaves nobody to deliver to.
  if (!announce_end_.load()) return;
  on_close_();
  auto message = std::make_unique<Message>();
  if (channel_.NonBlockingCall(message.get()) == napi_ok) static_cast<void>(message.release());
}

void EngineThread::run(Task& task) {
  task.send_tokens = [this, &task](std::span<const TokenEvent> tokens) {
    auto message = std::make_unique<Message>();
    message->task = &task;
    message->tokens.assign(tokens.begin(), tokens.end());
    if (channel_.NonBlockingCall(message.get()) == napi_ok) static_cast<void>(message.release());
  };
  try {
    task.check_abort();
    task.work(task);
  } catch (const Error& error) {
    task.code = error.code;
    task.message = error.what();
    task.hint = error.hint;
  } catch (const std::bad_alloc&) {
    task.code = "ERR_GLEANER_MEMORY";
    task.message = "the machine has no memory left";
    task.hint = "lower train.micro_batch_tokens or generation.batch_size";
  } catch (const std::exception& error) {
    task.code = "ERR_GLEANER_INTERNAL";
    task.message = error.what();
  }
}

void EngineThread::deliver(Napi::Env env, Napi::Function, EngineThread* self, Message* raw) {
  const std::unique_ptr<Message> message(raw);
  if (env == nullptr) {  // the environment is gone, and with it every JS value
    if (message->task != nullptr && message->settled) {
      message->task->on_tokens.SuppressDestruct();
      message->task->thrown.SuppressDestruct();
      const std::unique_ptr<Task> dropped(message->task);
    }
    return;
  }
  const Napi::HandleScope scope(env);
  try {
    if (message->task == nullptr) {
      self->join();
      const std::vector<Napi::Promise::Deferred> closing = std::move(self->closing_);
      self->closing_.clear();
      self->finish_pending(env);
      for (const Napi::Promise::Deferred& deferred : closing) deferred.Resolve(env.Undefined());
    } else if (message->settled) {
      self->settle(env, std::unique_ptr<Task>(message->task));
    } else {
      self->deliver_tokens(env, *message->task, message->tokens);
    }
  } catch (
      const Napi::Error&) {  // a worker thread is being terminated: it makes no more values, and nobody waits for them
  }
}

void EngineThread::deliver_tokens(Napi::Env env, Task& task, const std::vector<TokenEvent>& tokens) {
  if (!task.thrown.IsEmpty()) return;
  auto flat = Napi::Int32Array::New(env, tokens.size() * 3);
  for (size_t i = 0; i < tokens.size(); ++i) {
    flat[3 * i] = tokens[i].prompt;
    flat[3 * i + 1] = tokens[i].token;
    flat[3 * i + 2] = tokens[i].position;
  }
  try {
    task.on_tokens.Call({flat});
  } catch (const Napi::Error& error) {  // the caller's callback threw: the command ends with that error
    task.cancelled = true;
    auto box = Napi::Object::New(env);
    box.Set("value", error.Value());
    task.thrown = Napi::Persistent(box);
  }
}

void EngineThread::begin_pending(Napi::Env env) {
  if (pending_++ > 0) return;
  if (!joined_) channel_.Ref(env);
  on_pending_(true);
}

void EngineThread::finish_pending(Napi::Env env) {
  if (--pending_ > 0) return;
  if (!joined_) channel_.Unref(env);
  on_pending_(false);
}

void EngineThread::settle(Napi::Env env, std::unique_ptr<Task> task) {
  {
    const std::lock_guard lock(mutex_);
    live_.erase(task->id);
  }
  finish_pending(env);
  if (!task->thrown.IsEmpty()) {
    task->deferred.Reject(task->thrown.Get("value"));
    return;
  }
  if (task->code.empty()) {
    try {
      task->deferred.Resolve(task->result ? task->result(env) : env.Undefined());
    } catch (const Napi::Error& error) {
      task->deferred.Reject(error.Value());
    }
    return;
  }
  Napi::Error error = Napi::Error::New(env, task->message);
  error.Set("code", Napi::String::New(env, task->code));
  error.Set("hint", Napi::String::New(env, task->hint));
  task->deferred.Reject(error.Value());
}

Napi::Value EngineThread::submit(Napi::Env env, std::unique_ptr<Task> task) {
  if (stopping_) {
    Napi::Error error = Napi::Error::New(env, "the engine is closed");
    error.Set("code", Napi::String::New(env, "ERR_GLEANER_CLOSED"));
    throw error;
  }
  const Napi::Promise promise = task->deferred.Promise();
  begin_pending(env);
  Task* raw = task.release();
  uint32_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = next_id_++;
    raw->id = id;
    live_.emplace(id, raw);
    queue_.push_back(raw);
  }
  wake_.notify_one();
  auto handle = Napi::Object::New(env);
  handle.Set("promise", promise);
  handle.Set("task", Napi::Number::New(env, id));
  return handle;
}

void EngineThread::cancel(uint32_t id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = live_.find(id); found != live_.end()) found->second->cancelled = true;
}

void EngineThread::stop_prompt(uint32_t id, int32_t prompt) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  const std::lock_guard stopped_lock(found->second->stopped_mutex);
  found->second->stopped_prompts.insert(prompt);
}

Napi::Promise EngineThread::close(Napi::Env env) {
  auto deferred = Napi::Promise::Deferred::New(env);
  if (joined_) {
    deferred.Resolve(env.Undefined());
    return deferred.Promise();
  }
  closing_.push_back(deferred);
  if (!announce_end_.exchange(true)) begin_pending(env);
  begin_stop();
  return deferred.Promise();
}

}  // namespace gleaner
