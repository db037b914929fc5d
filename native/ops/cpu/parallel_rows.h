// Loops over rows or elements cut into chunks for the pool. For work whose results do not depend on the cuts.
#pragma once
#include <algorithm>
#include <cstdint>

#include "base/threads.h"

namespace gleaner::cpu {

constexpr int64_t kChunkFloats = 8192;  // some microseconds of work: less is not worth a thread

/// f(begin, end) over [0, count) in chunks of about kChunkFloats, one item costing item_floats.
template <class F>
void for_ranges(ThreadPool& pool, int64_t count, int64_t item_floats, const F& f) {
  const int64_t per_chunk = std::max<int64_t>(1, kChunkFloats / std::max<int64_t>(1, item_floats));
  pool.run((count + per_chunk - 1) / per_chunk, [&](int64_t chunk) {
    const int64_t begin = chunk * per_chunk;
    f(begin, std::min(count, begin + per_chunk));
  });
}

/// f(begin, count) over blocks of columns, for sums that run down the rows: one block reads all of them.
template <class F>
void for_column_blocks(ThreadPool& pool, int64_t rows, int64_t cols, const F& f) {
  constexpr int64_t kWidth = 64;  // four cache lines of a row
  const int64_t blocks_a_chunk = std::max<int64_t>(1, kChunkFloats / std::max<int64_t>(1, rows * kWidth));
  const int64_t width = kWidth * blocks_a_chunk;
  pool.run((cols + width - 1) / width, [&](int64_t chunk) {
    const int64_t begin = chunk * width;
    f(begin, std::min(width, cols - begin));
  });
}

}  // namespace gleaner::cpu
