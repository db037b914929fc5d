// The pool: every chunk once, errors to the caller, loops inside loops, many short loops. Also for the thread
// sanitizer.
#include "base/threads.h"

#include <doctest/doctest.h>

#include <numeric>
#include <stdexcept>

namespace gleaner::test {
namespace {

TEST_CASE("every chunk is run once, by workers of the pool") {
  for (const int threads : {1, 2, 5}) {
    CAPTURE(threads);
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const int64_t chunks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<size_t>(chunks));
      std::atomic<bool> outside{false};
      pool.run_with_worker(chunks, [&](int64_t chunk, int worker) {
        ++seen[static_cast<size_t>(chunk)];
        if (worker < 0 || worker >= threads) outside = true;
      });
      CHECK(!outside);
      for (const std::atomic<int>& count : seen) CHECK(count == 1);
    }
  }
}

TEST_CASE("two chunks at a time never have the same worker") {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<bool> shared{false};
  pool.run_with_worker(500, [&](int64_t, int worker) {
    if (inside[static_cast<size_t>(worker)].fetch_add(1) != 0) shared = true;
    std::this_thread::yield();
    inside[static_cast<size_t>(worker)].fetch_sub(1);
  });
  CHECK(!shared);
}

TEST_CASE("an error of a chunk is thrown to the caller, after the others are done; the pool goes on") {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    for (int i = 0; i < 20; ++i) {
      CHECK_THROWS_WITH_AS(pool.run(50,
                                    [](int64_t chunk) {
                                      if (chunk == 33) throw std::runtime_error("mine");
                                    }),
                           "mine", std::runtime_error);
      std::atomic<int> done{0};
      pool.run(50, [&](int64_t) { ++done; });
      CHECK(done == 50);
    }
  }
}

TEST_CASE("a loop inside a chunk runs where it is") {
  ThreadPool pool(3);
  std::vector<int64_t> sums(20);
  pool.run_with_worker(20, [&](int64_t chunk, int outer) {
    pool.run_with_worker(10, [&](int64_t inner, int worker) {
      if (worker == outer) sums[static_cast<size_t>(chunk)] += inner;
    });
  });
  for (const int64_t sum : sums) CHECK(sum == 45);
}

TEST_CASE("thousands of short loops see what came before") {
  ThreadPool pool(3);
  std::vector<int> values(8);
  for (int i = 0; i < 5000; ++i) pool.run(8, [&](int64_t chunk) { ++values[static_cast<size_t>(chunk)]; });
  CHECK(std::accumulate(values.begin(), values.end(), 0) == 8 * 5000);
}

TEST_CASE("pools come and go") {
  for (int i = 0; i < 50; ++i) {
    ThreadPool pool(1 + i % 4);
    if (i % 3 == 0) continue;  // one that never had work
    std::atomic<int> done{0};
    pool.run(3, [&](int64_t) { ++done; });
    CHECK(done == 3);
  }
}

}  // namespace
}  // namespace gleaner::test
