// How attention over a forest and over a paged cache are cut into chunks of work, and how the workspace is shared out.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/threads.h"
#include "ops/cpu/attention_kernels.h"

namespace gleaner::cpu {

/// Queries [first, first + queries) of a range; their rows and heads of one kv head are computed together.
struct Block {
  int32_t range = 0;
  int32_t first = 0;
  int32_t queries = 0;
};

/// At most one block a query.
constexpr int64_t block_list_floats(int64_t rows) {
  return round_up(rows * static_cast<int64_t>(sizeof(Block) / sizeof(float)), 16);
}

class BlockList {
 public:
  explicit BlockList(float* workspace) : blocks_(reinterpret_cast<Block*>(workspace)) {}
  /// Cuts a range whose path ends at `end` so that a block's scores stay in the cache.
  void add(int32_t range, int64_t count, int64_t group, int64_t end) {
    const int64_t rows = std::min(kBlockRows, kBlockScores / scores_stride(end));
    const int64_t step = std::max<int64_t>(1, rows / group);
    for (int64_t first = 0; first < count; first += step) {
      blocks_[size_++] = {range, static_cast<int32_t>(first), static_cast<int32_t>(std::min(step, count - first))};
    }
  }
  int64_t size() const { return size_; }
  const Block& operator[](int64_t index) const { return blocks_[index]; }

 private:
  Block* blocks_;
  int64_t size_ = 0;
};

constexpr int64_t path_list_floats(int64_t path) { return round_up(path, 16); }
constexpr int64_t forward_thread_floats(int64_t group, int64_t head_dim, int64_t path) {
  return path_list_floats(path) + round_up(forward_scratch_floats(group, head_dim, path), 16);
}

/// First position of a block's path list: the first that its first query sees, down to the alignment.
constexpr int64_t path_base(int64_t position, int64_t window) {
  const int64_t first = window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
  return first / kPathAlignment * kPathAlignment;
}

/// f(chunk, worker), on the caller alone where waking others would cost more than it saves.
template <typename F>
void run_chunks(ThreadPool& pool, int64_t chunks, int64_t multiplications, const F& f) {
  constexpr int64_t kWorthSharing = 100'000;
  if (chunks <= 1 || multiplications < kWorthSharing) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) f(chunk, 0);
  } else {
    pool.run_with_worker(chunks, f);
  }
}

}  // namespace gleaner::cpu
