// Backward: two tokens may share an id, so threads share columns, not tokens.
#include "ops/cpu/embedding.h"

#include "ops/cpu/loops.h"
#include "ops/cpu/parallel_rows.h"
#include "ops/cpu/rows.h"

namespace gleaner::cpu {

void embedding_forward(ThreadPool& pool, std::span<const int32_t> ids, Tensor weight, Tensor y) {
  gather_rows(pool, weight, ids, y);
}

void embedding_backward(ThreadPool& pool, Isa isa, std::span<const int32_t> ids, Tensor dy, Tensor dweight) {
  const Loops& loop = loops(isa);
  for_column_blocks(pool, dy.rows, dy.cols, [&](int64_t col, int64_t count) {
    for (int64_t t = 0; t < dy.rows; ++t)
      loop.add(dy.row(t) + col, count, dweight.row(ids[static_cast<size_t>(t)]) + col);
  });
}

}  // namespace gleaner::cpu
