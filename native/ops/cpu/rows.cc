// Dense matrices are cut by elements, since one long row (a block of parameters) must be shared out too.
#include "ops/cpu/rows.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/loops.h"
#include "ops/cpu/parallel_rows.h"

namespace gleaner::cpu {

namespace {

Tensor flat_if_dense(Tensor x, bool dense) { return dense ? Tensor::f32(x.f32(), 1, x.size()) : x; }
bool is_dense(Tensor x) { return x.stride == x.cols || x.rows == 1; }

/// f(row, col, count) over pieces of rows.
template <class F>
void for_pieces(ThreadPool& pool, Tensor shape, const F& f) {
  constexpr int64_t kPiece = 16 * 1024;
  const int64_t pieces = (shape.cols + kPiece - 1) / kPiece;
  for_ranges(pool, shape.rows * pieces, std::min(kPiece, shape.cols), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t col = i % pieces * kPiece;
      f(i / pieces, col, std::min(kPiece, shape.cols - col));
    }
  });
}

}  // namespace

void gather_rows(ThreadPool& pool, Tensor x, std::span<const int32_t> rows, Tensor y) {
  for_ranges(pool, y.rows, y.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(y.row(i), x.row(rows[static_cast<size_t>(i)]), static_cast<size_t>(y.cols) * sizeof(float));
    }
  });
}

void scatter_add_rows(ThreadPool& pool, Isa isa, Tensor dy, std::span<const int32_t> rows, Tensor dx) {
  const Loops& loop = loops(isa);
  for_ranges(pool, dy.rows, dy.cols, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) loop.add(dy.row(i), dy.cols, dx.row(rows[static_cast<size_t>(i)]));
  });
}

void add(ThreadPool& pool, Isa isa, Tensor x, Tensor y) {
  const Loops& loop = loops(isa);
  const bool dense = is_dense(x) && is_dense(y);
  const Tensor from = flat_if_dense(x, dense);
  const Tensor to = flat_if_dense(y, dense);
  for_pieces(pool, to,
             [&](int64_t row, int64_t col, int64_t count) { loop.add(from.row(row) + col, count, to.row(row) + col); });
}

void copy(ThreadPool& pool, Tensor x, Tensor y) {
  const bool dense = is_dense(x) && is_dense(y);
  const Tensor from = flat_if_dense(x, dense);
  const Tensor to = flat_if_dense(y, dense);
  for_pieces(pool, to, [&](int64_t row, int64_t col, int64_t count) {
    std::memmove(to.row(row) + col, from.row(row) + col, static_cast<size_t>(count) * sizeof(float));
  });
}

void fill(ThreadPool& pool, Tensor x, float value) {
  const Tensor to = flat_if_dense(x, is_dense(x));
  for_pieces(pool, to, [&](int64_t row, int64_t col, int64_t count) { std::fill_n(to.row(row) + col, count, value); });
}

void add_column_sums(ThreadPool& pool, Isa isa, Tensor x, Tensor sums) {
  const Loops& loop = loops(isa);
  for_column_blocks(pool, x.rows, x.cols, [&](int64_t col, int64_t count) {
    for (int64_t r = 0; r < x.rows; ++r) loop.add(x.row(r) + col, count, sums.f32() + col);
  });
}

}  // namespace gleaner::cpu
