// Blocks around the register tiles: rows of x are copied together per block of depth (their stride may map them onto
// few cache sets), panels of the packed matrix stay in L2 while row blocks pass over them.
#include "ops/cpu/gemm.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/gemm_kernels.h"

namespace gleaner::cpu {

namespace {

constexpr int64_t kDepthBlock = 384;  // of a product: one panel's block, 24–48 KB, passes through L1
constexpr int64_t kRowBlock = 96;     // rows copied together: 147 KB, in L2
constexpr int64_t kTokenBlock = 512;  // depth block of dweight
constexpr int64_t kColsMax = 32;
constexpr int64_t kRowsMax = 12;
constexpr int64_t kPanelGroupFloats = 96 * 1024;  // of packed matrix a chunk works on: 384 KB
constexpr int64_t kCopyRows = 8;                  // fewer rows are read where they lie

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// memcpy by 64 bytes at a time: a call, or the compiler's string instruction, costs more than a short row.
void copy_floats(float* to, const float* from, int64_t count) {
  for (; count >= 16; count -= 16, to += 16, from += 16) std::memcpy(to, from, 64);
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

/// Columns [0, width) of `rows` rows side by side, width a register tile's rows.
template <int WIDTH>
void copy_panel(float* to, const float* from, int64_t rows, int64_t stride) {
  for (int64_t k = 0; k < rows; ++k) std::memcpy(to + k * WIDTH, from + k * stride, WIDTH * sizeof(float));
}
void copy_panel(float* to, int64_t width, const float* from, int64_t cols, int64_t rows, int64_t stride) {
  if (cols == width && width == 4) return copy_panel<4>(to, from, rows, stride);
  if (cols == width && width == 6) return copy_panel<6>(to, from, rows, stride);
  if (cols == width && width == 12) return copy_panel<12>(to, from, rows, stride);
  for (int64_t k = 0; k < rows; ++k) {
    for (int64_t i = 0; i < cols; ++i) to[k * width + i] = from[k * stride + i];
  }
}

/// Runs a tile whose panel reaches past the last column through a small buffer, so that nothing is read or written
/// outside.
void run_narrow(TileKernel kernel, Tile tile, int64_t rows, int64_t panel_cols, int64_t cols) {
  alignas(64) float c[kRowsMax * kColsMax];
  alignas(64) float bias[kColsMax] = {};
  float* const destination = tile.c;
  const int64_t stride = tile.c_stride;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < panel_cols; ++j)
      c[i * panel_cols + j] = tile.start != nullptr && j < cols ? tile.start[i * tile.start_stride + j] : 0;
  }
  if (tile.bias != nullptr) {
    std::memcpy(bias, tile.bias, static_cast<size_t>(cols) * sizeof(float));
    tile.bias = bias;
  }
  tile.start = c;
  tile.start_stride = panel_cols;
  tile.c = c;
  tile.c_stride = panel_cols;
  kernel(tile);
  for (int64_t i = 0; i < rows; ++i)
    std::memcpy(destination + i * stride, c + i * panel_cols, static_cast<size_t>(cols) * sizeof(float));
}

/// depth × cols as seen through (row step, col step) of the source.
PackedMatrix pack(ThreadPool& pool, Isa isa, const float* source, int64_t depth, int64_t cols, int64_t depth_step,
                  int64_t col_step, float* memory) {
  const int64_t width = gemm_kernels(isa).cols;
  const int64_t panels = ceil_div(cols, width);
  pool.run(panels, [&](int64_t p) {
    float* out = memory + p * depth * width;
    const int64_t first = p * width;
    const int64_t count = std::min(width, cols - first);
    if (count < width) std::memset(out, 0, static_cast<size_t>(depth * width) * sizeof(float));
    const float* from = source + first * col_step;
    if (col_step == 1) {
      for (int64_t k = 0; k < depth; ++k)
        std::memcpy(out + k * width, from + k * depth_step, static_cast<size_t>(count) * sizeof(float));
    } else {
      for (int64_t k0 = 0; k0 < depth; k0 += 16) {  // short runs of both sides: a transposition that stays in L1
        const int64_t end = std::min(depth, k0 + 16);
        for (int64_t j = 0; j < count; ++j) {
          for (int64_t k = k0; k < end; ++k) out[k * width + j] = from[j * col_step + k * depth_step];
        }
      }
    }
  });
  return {.depth = depth, .cols = cols, .data = memory, .panel_depth = depth};
}

/// Few rows: x is read where it lies and several panels run at once.
void gemm_few_rows(ThreadPool& pool, const GemmKernels& kernels, int64_t rows, const float* x, int64_t x_stride,
                   const PackedMatrix& packed, float* y, int64_t y_stride, const GemmStart& start) {
  const int64_t width = kernels.cols;
  const int64_t panels = ceil_div(packed.cols, width);
  const int64_t panel_floats = packed.panel_depth * width;
  const int64_t full_panels = packed.cols / width;
  const int64_t group = rows <= 2 ? kernels.group_panels[rows] : 1;
  const auto tile_at = [&](int64_t row, int64_t p) {
    const int64_t col = p * width;
    return Tile{.depth = packed.depth,
                .a = x + row * x_stride,
                .a_row = x_stride,
                .b = packed.data + p * panel_floats,
                .panel_floats = panel_floats,
                .c = y + row * y_stride + col,
                .c_stride = y_stride,
                .start = start.start != nullptr ? start.start + row * start.stride + col : nullptr,
                .start_stride = start.stride,
                .bias = start.bias != nullptr ? start.bias + col : nullptr};
  };
  // A chunk reads at least 64 KB of the packed matrix; tiny products stay with the caller.
  const int64_t per_chunk = std::max<int64_t>(group, ceil_div(16384, panel_floats) / group * group);
  pool.run(ceil_div(panels, per_chunk), [&](int64_t chunk) {
    int64_t p = chunk * per_chunk;
    const int64_t end = std::min(panels, p + per_chunk);
    for (; group > 1 && p + group <= std::min(end, full_panels); p += group) kernels.row_groups[rows](tile_at(0, p));
    for (; p < end; ++p) {
      for (int64_t row = 0; row < rows; row += kernels.rows_max) {
        const int64_t count = std::min<int64_t>(kernels.rows_max, rows - row);
        if (p < full_panels) {
          kernels.rows[count](tile_at(row, p));
        } else {
          run_narrow(kernels.rows[count], tile_at(row, p), count, width, packed.cols - p * width);
        }
      }
    }
  });
}

}  // namespace

PackedMatrix PackedMatrix::slice_depth(int64_t begin, int64_t count, Isa isa) const {
  return {count, cols, data + begin * gemm_kernels(isa).cols, panel_depth};
}

size_t packed_floats(int64_t depth, int64_t cols, Isa isa) {
  const int64_t width = gemm_kernels(isa).cols;
  return static_cast<size_t>(ceil_div(cols, width) * width * depth);
}

PackedMatrix pack_forward(ThreadPool& pool, Isa isa, const float* weight, int64_t out, int64_t in, int64_t stride,
                          float* memory) {
  return pack(pool, isa, weight, in, out, 1, stride, memory);
}

PackedMatrix pack_backward(ThreadPool& pool, Isa isa, const float* weight, int64_t out, int64_t in, int64_t stride,
                           float* memory) {
  return pack(pool, isa, weight, out, in, stride, 1, memory);
}

size_t gemm_workspace_floats(int threads) { return static_cast<size_t>(threads) * kRowBlock * kDepthBlock; }

void gemm(ThreadPool& pool, Isa isa, int64_t rows, const float* x, int64_t x_stride, const PackedMatrix& packed,
          float* y, int64_t y_stride, const GemmStart& start, float* workspace) {
  const GemmKernels& kernels = gemm_kernels(isa);
  if (rows <= kCopyRows) {
    gemm_few_rows(pool, kernels, rows, x, x_stride, packed, y, y_stride, start);
    return;
  }
  const int64_t width = kernels.cols;
  const int64_t depth = packed.depth;
  const int64_t panels = ceil_div(packed.cols, width);
  const int64_t full_panels = packed.cols / width;
  const int64_t row_blocks = ceil_div(rows, kRowBlock);
  // Chunks small enough that every thread gets some, panels of a chunk few enough to stay in L2.
  int64_t group = std::clamp<int64_t>(kPanelGroupFloats / (std::min(depth, kDepthBlock) * width), 1, panels);
  while (group > 1 && row_blocks * ceil_div(panels, group) < 4 * pool.threads()) group = ceil_div(group, 2);
  const int64_t groups = ceil_div(panels, group);
  pool.run_with_worker(groups * row_blocks, [&](int64_t chunk, int worker) {
    float* const copy = workspace + static_cast<int64_t>(worker) * kRowBlock * kDepthBlock;
    const int64_t row0 = chunk % row_blocks * kRowBlock;
    const int64_t block_rows = std::min(kRowBlock, rows - row0);
    const int64_t panel0 = chunk / row_blocks * group;
    const int64_t panel_end = std::min(panels, panel0 + group);
    for (int64_t k0 = 0; k0 < depth; k0 += kDepthBlock) {
      const int64_t k_count = std::min(kDepthBlock, depth - k0);
      const bool together = x_stride == k_count;  // dense and of one block: it lies as the copy would
      if (!together) {
        for (int64_t i = 0; i < block_rows; ++i)
          copy_floats(copy + i * k_count, x + (row0 + i) * x_stride + k0, k_count);
      }
      const float* const a = together ? x + row0 * x_stride : copy;
      for (int64_t p = panel0; p < panel_end; ++p) {
        for (int64_t i = 0; i < block_rows; i += kernels.rows_max) {
          const int64_t count = std::min<int64_t>(kernels.rows_max, block_rows - i);
          const int64_t row = row0 + i;
          const int64_t col = p * width;
          float* const c = y + row * y_stride + col;
          const float* const begin = start.start != nullptr ? start.start + row * start.stride + col : nullptr;
          const Tile tile{.depth = k_count,
                          .a = a + i * k_count,
                          .a_row = k_count,
                          .b = packed.data + (p * packed.panel_depth + k0) * width,
                          .panel_floats = 0,
                          .c = c,
                          .c_stride = y_stride,
                          .start = k0 > 0 ? c : begin,
                          .start_stride = k0 > 0 ? y_stride : start.stride,
                          .bias = k0 > 0 || start.bias == nullptr ? nullptr : start.bias + col};
          if (p < full_panels) {
            kernels.rows[count](tile);
          } else {
            run_narrow(kernels.rows[count], tile, count, width, packed.cols - col);
          }
        }
      }
    }
  });
}

size_t gemm_dweight_workspace_floats(int64_t max_in, int threads) {
  return static_cast<size_t>(ceil_div(max_in, kColsMax) * kColsMax * kTokenBlock + threads * kRowBlock * kTokenBlock);
}

void gemm_dweight(ThreadPool& pool, Isa isa, int64_t rows, const float* dy, int64_t dy_stride, int64_t out,
                  const float* x, int64_t x_stride, int64_t in, float* dweight, float* workspace) {
  const GemmKernels& kernels = gemm_kernels(isa);
  const int64_t width = kernels.cols;
  const int64_t rows_max = kernels.rows_max;
  const int64_t panels = ceil_div(in, width);
  const int64_t full_panels = in / width;
  float* const copies = workspace + ceil_div(in, kColsMax) * kColsMax * kTokenBlock;
  const int64_t out_blocks = ceil_div(out, kRowBlock);
  for (int64_t k0 = 0; k0 < rows; k0 += kTokenBlock) {
    const int64_t k_count = std::min(kTokenBlock, rows - k0);
    const PackedMatrix packed = pack(pool, isa, x + k0 * x_stride, k_count, in, x_stride, 1, workspace);
    int64_t group = panels;
    while (group > 1 && out_blocks * ceil_div(panels, group) < 4 * pool.threads()) group = ceil_div(group, 2);
    const int64_t groups = ceil_div(panels, group);
    pool.run_with_worker(groups * out_blocks, [&](int64_t chunk, int worker) {
      // dy's columns of this block as panels of rows_max: [block_rows / rows_max][k_count][rows_max].
      float* const copy = copies + static_cast<int64_t>(worker) * kRowBlock * kTokenBlock;
      const int64_t row0 = chunk / groups * kRowBlock;
      const int64_t block_rows = std::min(kRowBlock, out - row0);
      for (int64_t i = 0; i < block_rows; i += rows_max) {
        copy_panel(copy + i * k_count, rows_max, dy + k0 * dy_stride + row0 + i, std::min(rows_max, block_rows - i),
                   k_count, dy_stride);
      }
      const int64_t panel0 = chunk % groups * group;
      const int64_t panel_end = std::min(panels, panel0 + group);
      for (int64_t p = panel0; p < panel_end; ++p) {
        for (int64_t i = 0; i < block_rows; i += rows_max) {
          const int64_t count = std::min(rows_max, block_rows - i);
          float* const c = dweight + (row0 + i) * in + p * width;
          const Tile tile{.depth = k_count,
                          .a = copy + i * k_count,
                          .a_row = 0,
                          .b = packed.data + p * k_count * width,
                          .panel_floats = 0,
                          .c = c,
                          .c_stride = in,
                          .start = c,
                          .start_stride = in,
                          .bias = nullptr};
          if (p < full_panels) {
            kernels.panels[count](tile);
          } else {
            run_narrow(kernels.panels[count], tile, count, width, in - p * width);
          }
        }
      }
    });
  }
}

}  // namespace gleaner::cpu
