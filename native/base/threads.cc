// Workers watch an epoch: a short spin, then sleep. The job lives on the caller's stack, so the caller leaves only when
// no worker is inside.
#include "base/threads.h"

#include <algorithm>
#include <string>
#include <system_error>

#include "base/error.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gleaner {

namespace {
constexpr int kSpins = 2000;  // some microseconds: loops follow each other closely in a step
void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}
void pause_longer() {
  for (int i = 0; i < 64; ++i) pause();
  std::this_thread::yield();
}
}  // namespace

int& ThreadPool::current_worker() {
  thread_local int worker = -1;
  return worker;
}

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(static_cast<size_t>(std::max(threads - 1, 0)));
  try {
    for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { loop(worker); });
  } catch (const std::system_error& error) {
    stop();
    throw Error("ERR_GLEANER_USAGE",
                "the machine gave " + std::to_string(workers_.size() + 1) + " of " + std::to_string(threads) +
                    " threads: " + error.what(),
                "set threads lower");
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  stop_ = true;
  ++epoch_;
  epoch_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_job(Job& job) {
  job_ = &job;
  ++epoch_;
  epoch_.notify_all();
  work(job, 0);
  while (job.done.load() < job.chunks) pause_longer();
  job_ = nullptr;
  while (inside_.load() > 0) pause_longer();
  if (job.error) std::rethrow_exception(job.error);
}

void ThreadPool::work(Job& job, int worker) {
  current_worker() = worker;
  for (int64_t chunk = 0; (chunk = job.next.fetch_add(1)) < job.chunks;) {
    try {
      job.call(job.body, chunk, worker);
    } catch (...) {
      const std::lock_guard lock(job.error_mutex);
      if (!job.error) job.error = std::current_exception();
    }
    job.done.fetch_add(1);
  }
  current_worker() = -1;
}

void ThreadPool::loop(int worker) {
  for (uint64_t seen = 0; !stop_.load();) {
    for (int spin = 0; spin < kSpins && epoch_.load() == seen; ++spin) pause();
    epoch_.wait(seen);
    seen = epoch_.load();
    inside_.fetch_add(1);
    if (Job* job = job_.load()) work(*job, worker);
    inside_.fetch_sub(1);
  }
}

}  // namespace gleaner
