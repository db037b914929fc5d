// The turn back swaps the halves: with (second, first) the same formula has the sine's sign reversed.
#include "ops/cpu/rope.h"

#include "ops/cpu/loops.h"
#include "ops/cpu/parallel_rows.h"

namespace gleaner::cpu {

void rope(ThreadPool& pool, Isa isa, Tensor x, int64_t head_dim, int64_t rotary_dim, std::span<const int32_t> positions,
          Tensor cosine, Tensor sine, bool inverse) {
  const Loops& loop = loops(isa);
  const int64_t half = rotary_dim / 2;
  for_ranges(pool, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t position = positions[static_cast<size_t>(r)];
      for (float* head = x.row(r); head < x.row(r) + x.cols; head += head_dim) {
        float* const first = inverse ? head + half : head;
        float* const second = inverse ? head : head + half;
        loop.rotate(first, second, cosine.row(position), sine.row(position), half);
      }
    }
  });
}

}  // namespace gleaner::cpu
