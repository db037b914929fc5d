// fp32 products with packed weights. An output element is one chain of multiply-adds over the depth, in order, whatever
// the number of rows, threads or the tile that it falls into: row r alone has the same bits as row r of 4096.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/cpu_features.h"
#include "base/threads.h"

namespace gleaner::cpu {

/// A matrix [depth, cols] as panels of columns: panel p holds, for each depth, its columns side by side.
struct PackedMatrix {
  int64_t depth = 0;
  int64_t cols = 0;
  const float* data = nullptr;  // 64-byte aligned
  int64_t panel_depth = 0;      // depth of a panel as it lies in memory: more than depth in a view

  /// Columns [begin, begin + count), begin a multiple of a panel's columns.
  PackedMatrix slice_cols(int64_t begin, int64_t count) const {
    return {depth, count, data + begin * panel_depth, panel_depth};
  }
  /// Depth [begin, begin + count).
  PackedMatrix slice_depth(int64_t begin, int64_t count, Isa isa) const;
};

size_t packed_floats(int64_t depth, int64_t cols, Isa isa);
/// From weight [out, in]: for y = x W^T, [depth = in, cols = out].
PackedMatrix pack_forward(ThreadPool& pool, Isa isa, const float* weight, int64_t out, int64_t in, int64_t stride,
                          float* memory);
/// From weight [out, in]: for dx = dy W, [depth = out, cols = in].
PackedMatrix pack_backward(ThreadPool& pool, Isa isa, const float* weight, int64_t out, int64_t in, int64_t stride,
                           float* memory);

/// What a sum starts from: 0, or start[row][col], plus bias[col].
struct GemmStart {
  const float* start = nullptr;  // may be y itself
  int64_t stride = 0;
  const float* bias = nullptr;
};

/// y [rows, cols] = start + x [rows, depth] · packed; strides in floats.
void gemm(ThreadPool& pool, Isa isa, int64_t rows, const float* x, int64_t x_stride, const PackedMatrix& packed,
          float* y, int64_t y_stride, const GemmStart& start, float* workspace);
size_t gemm_workspace_floats(int threads);

/// dweight [out, in] += dy [rows, out]^T x [rows, in], in row order and straight into dweight: rows split over several
/// calls give the bits of one call.
void gemm_dweight(ThreadPool& pool, Isa isa, int64_t rows, const float* dy, int64_t dy_stride, int64_t out,
                  const float* x, int64_t x_stride, int64_t in, float* dweight, float* workspace);
size_t gemm_dweight_workspace_floats(int64_t max_in, int threads);

}  // namespace gleaner::cpu
