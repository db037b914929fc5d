// Register tiles of the products: M rows × N panels of columns, one instruction set each.
#pragma once
#include <cstdint>

#include "base/cpu_features.h"

namespace gleaner::cpu {

/// One tile's operands. c[i][j] = (start[i][j] or 0) + bias[j] + sum over k of a(i, k) * b(k, j), j over the panel's
/// columns.
struct Tile {
  int64_t depth;
  const float* a;
  int64_t a_row;   // a(i, k) = a[i * a_row + k] in row layout, a[k * rows_max + i] in panel layout
  const float* b;  // packed panel(s), panel_floats apart
  int64_t panel_floats;
  float* c;
  int64_t c_stride;
  const float* start;  // null: 0
  int64_t start_stride;
  const float* bias;  // null: 0
};

using TileKernel = void (*)(const Tile&);

/// Kernels of one instruction set. rows[m]: m rows of a in row layout, one panel; panels[m]: a in panel layout
/// (rows_max floats a depth); row_groups[m] for m = 1, 2: group_panels[m] panels at once, so that few rows still hide
/// the latency of the multiply-adds.
struct GemmKernels {
  int rows_max;
  int cols;  // of a panel
  TileKernel rows[13];
  TileKernel panels[13];
  TileKernel row_groups[3];
  int group_panels[3];
};

const GemmKernels& gemm_kernels(Isa isa);

}  // namespace gleaner::cpu
