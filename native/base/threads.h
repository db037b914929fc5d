// A pool for short parallel loops. Chunks are claimed from a counter and the caller works too, so a worker that the
// system has put aside never holds the loop up. An idle pool sleeps.
#pragma once
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace gleaner {

class ThreadPool {
 public:
  /// `threads` counts the caller. One caller at a time. Throws ERR_GLEANER_USAGE when the machine gives fewer.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// f(chunk) for each chunk in [0, chunks), in any order, on any thread. An exception of a chunk is thrown again here.
  /// Called from inside a chunk it runs the loop where it is.
  template <class F>
  void run(int64_t chunks, const F& f) {
    run_with_worker(chunks, [&f](int64_t chunk, int) { f(chunk); });
  }
  /// f(chunk, worker): worker in [0, threads) is the thread's own number, for scratch.
  template <class F>
  void run_with_worker(int64_t chunks, const F& f) {
    if (chunks <= 0) return;
    if (chunks == 1 || workers_.empty() || current_worker() >= 0) {
      const int worker = current_worker() >= 0 ? current_worker() : 0;
      for (int64_t chunk = 0; chunk < chunks; ++chunk) f(chunk, worker);
      return;
    }
    Job job{chunks, &f,
            [](const void* body, int64_t chunk, int worker) { (*static_cast<const F*>(body))(chunk, worker); }};
    run_job(job);
  }

 private:
  struct Job {
    int64_t chunks;
    const void* body;
    void (*call)(const void*, int64_t, int);
    std::atomic<int64_t> next{0};
    std::atomic<int64_t> done{0};
    std::mutex error_mutex{};
    std::exception_ptr error{};
  };
  /// -1 outside a chunk.
  static int& current_worker();
  void run_job(Job& job);
  static void work(Job& job, int worker);
  void loop(int worker);
  void stop();

  std::atomic<uint64_t> epoch_{0};
  std::atomic<Job*> job_{nullptr};
  std::atomic<int> inside_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace gleaner
