// Row by row: the arithmetic is in loops.inc.
#include "ops/cpu/activation.h"

#include "ops/cpu/loops.h"
#include "ops/cpu/parallel_rows.h"

namespace gleaner::cpu {

void gelu_forward(ThreadPool& pool, Isa isa, Tensor x, Tensor y) {
  const Loops& loop = loops(isa);
  for_ranges(pool, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) loop.gelu(x.row(r), x.cols, y.row(r));
  });
}

void gelu_backward(ThreadPool& pool, Isa isa, Tensor dy, Tensor x, Tensor dx) {
  const Loops& loop = loops(isa);
  for_ranges(pool, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) loop.gelu_dx(dy.row(r), x.row(r), x.cols, dx.row(r));
  });
}

void swiglu_forward(ThreadPool& pool, Isa isa, Tensor gate_up, Tensor y) {
  const Loops& loop = loops(isa);
  for_ranges(pool, y.rows, y.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) loop.swiglu(gate_up.row(r), gate_up.row(r) + y.cols, y.cols, y.row(r));
  });
}

void swiglu_backward(ThreadPool& pool, Isa isa, Tensor dy, Tensor gate_up, Tensor dgate_up) {
  const Loops& loop = loops(isa);
  const int64_t n = dy.cols;
  for_ranges(pool, dy.rows, n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      loop.swiglu_dx(dy.row(r), gate_up.row(r), gate_up.row(r) + n, n, dgate_up.row(r), dgate_up.row(r) + n);
    }
  });
}

}  // namespace gleaner::cpu
