// One thread that runs an engine's commands in order, and the way of their results back to JavaScript as promises.
#pragma once
#include <napi.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "sample/sampler.h"

namespace gleaner {

/// One command on its way. `work` runs on the engine thread without any N-API call; `result` makes its value on the JS
/// thread.
struct Task {
  explicit Task(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  uint32_t id = 0;
  Napi::Promise::Deferred deferred;
  std::function<void(Task&)> work;
  std::function<Napi::Value(Napi::Env)> result;
  Napi::FunctionReference on_tokens;  // JS thread only
  bool wants_tokens = false;
  std::function<void(std::span<const TokenEvent>)> send_tokens;  // engine thread → JS
  std::atomic<bool> cancelled{false};
  std::mutex stopped_mutex;
  std::unordered_set<int32_t> stopped_prompts;  // that JS has ended
  // Set when the work threw, or a callback did.
  std::string code, message, hint;
  Napi::ObjectReference thrown;  // { value }: a reference holds objects only, and anything can be thrown

  void check_abort() const {
    if (cancelled.load(std::memory_order_relaxed)) throw Aborted();
  }
  bool is_stopped(int32_t prompt) {
    const std::lock_guard lock(stopped_mutex);
    return stopped_prompts.contains(prompt);
  }
};

class EngineThread {
 public:
  /// on_pending: called on the JS thread with true when a first command is under way and with false after the last, to
  /// hold the owner. on_close: called on the engine thread as the last thing after close, to free what the commands
  /// worked on.
  EngineThread(Napi::Env env, std::function<void(bool)> on_pending, std::function<void()> on_close);
  ~EngineThread();

  /// { promise, task }. Throws ERR_GLEANER_CLOSED after close.
  Napi::Value submit(Napi::Env env, std::unique_ptr<Task> task);
  void cancel(uint32_t id);
  void stop_prompt(uint32_t id, int32_t prompt);
  /// Cancels what runs and what waits; the promise resolves when the thread has ended.
  Napi::Promise close(Napi::Env env);

 private:
  struct Message {
    Task* task = nullptr;  // null: the thread has ended
    bool settled = false;
    std::vector<TokenEvent> tokens;
  };
  static void deliver(Napi::Env env, Napi::Function, EngineThread* self, Message* message);
  using Channel = Napi::TypedThreadSafeFunction<EngineThread, Message, &EngineThread::deliver>;

  void loop();
  void run(Task& task);
  void settle(Napi::Env env, std::unique_ptr<Task> task);
  void deliver_tokens(Napi::Env env, Task& task, const std::vector<TokenEvent>& tokens);
  /// Commands under way hold the event loop and the owner.
  void begin_pending(Napi::Env env);
  void finish_pending(Napi::Env env);
  void begin_stop();
  void join();
  static void on_environment_exit(void* self);

  Napi::Env env_;
  std::function<void(bool)> on_pending_;
  std::function<void()> on_close_;
  Channel channel_;
  std::thread thread_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task*> queue_;
  std::unordered_map<uint32_t, Task*> live_;  // by id, so that a late cancel never meets a reused address
  uint32_t next_id_ = 1;
  int pending_ = 0;  // JS thread only
  std::atomic<bool> announce_end_{false};
  bool stopping_ = false;
  bool joined_ = false;
  bool environment_gone_ = false;
  std::vector<Napi::Promise::Deferred> closing_;
};

}  // namespace gleaner
