// Parameter gradients first: dx may be dy itself.
#include "ops/cpu/norm.h"

#include "ops/cpu/loops.h"
#include "ops/cpu/parallel_rows.h"

namespace gleaner::cpu {

void layer_norm_forward(ThreadPool& pool, Isa isa, Tensor x, Tensor weight, Tensor bias, float eps, Tensor y,
                        Tensor mean, Tensor rstd) {
  const Loops& loop = loops(isa);
  for_ranges(pool, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      loop.layer_norm(x.row(r), weight.f32(), bias.f32(), x.cols, eps, y.row(r), mean.row(r), rstd.row(r));
    }
  });
}

void layer_norm_backward(ThreadPool& pool, Isa isa, Tensor dy, Tensor x, Tensor weight, Tensor mean, Tensor rstd,
                         bool add, Tensor dx, Tensor dweight, Tensor dbias) {
  const Loops& loop = loops(isa);
  for_column_blocks(pool, x.rows, x.cols, [&](int64_t col, int64_t count) {
    for (int64_t r = 0; r < x.rows; ++r) {
      loop.layer_norm_dweight(dy.row(r) + col, x.row(r) + col, *mean.row(r), *rstd.row(r), count, dweight.f32() + col,
                              dbias.f32() + col);
    }
  });
  for_ranges(pool, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      loop.layer_norm_dx(dy.row(r), x.row(r), weight.f32(), *mean.row(r), *rstd.row(r), x.cols, add, dx.row(r));
    }
  });
}

void rms_norm_forward(ThreadPool& pool, Isa isa, Tensor x, Tensor weight, float eps, Tensor y, Tensor rstd) {
  const Loops& loop = loops(isa);
  for_ranges(pool, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) loop.rms_norm(x.row(r), weight.f32(), x.cols, eps, y.row(r), rstd.row(r));
  });
}

void rms_norm_backward(ThreadPool& pool, Isa isa, Tensor dy, Tensor x, Tensor weight, Tensor rstd, bool add, Tensor dx,
                       Tensor dweight) {
  const Loops& loop = loops(isa);
  for_column_blocks(pool, x.rows, x.cols, [&](int64_t col, int64_t count) {
    for (int64_t r = 0; r < x.rows; ++r) {
      loop.rms_norm_dweight(dy.row(r) + col, x.row(r) + col, *rstd.row(r), count, dweight.f32() + col);
    }
  });
  for_ranges(pool, x.rows, x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      loop.rms_norm_dx(dy.row(r), x.row(r), weight.f32(), *rstd.row(r), x.cols, add, dx.row(r));
    }
  });
}

}  // namespace gleaner::cpu
