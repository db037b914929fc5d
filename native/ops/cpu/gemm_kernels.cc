// Every loop over the accumulators is unrolled by pragma: GCC otherwise keeps them on the stack, at half the speed.
#include "ops/cpu/gemm_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gleaner::cpu {

namespace {

template <int M, int N, bool PANEL>
void tile_portable(const Tile& t) {
  constexpr int kCols = 16;
  constexpr int kRowsMax = 4;
  float s[M][N * kCols];
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N * kCols; ++j) {
      s[i][j] = (t.start != nullptr ? t.start[i * t.start_stride + j] : 0.0F) + (t.bias != nullptr ? t.bias[j] : 0.0F);
    }
  }
  for (int64_t k = 0; k < t.depth; ++k) {
    for (int i = 0; i < M; ++i) {
      const float a = PANEL ? t.a[k * kRowsMax + i] : t.a[i * t.a_row + k];
      for (int p = 0; p < N; ++p) {
        for (int j = 0; j < kCols; ++j) s[i][p * kCols + j] += a * t.b[p * t.panel_floats + k * kCols + j];
      }
    }
  }
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N * kCols; ++j) t.c[i * t.c_stride + j] = s[i][j];
  }
}

const GemmKernels kPortable = {.rows_max = 4,
                               .cols = 16,
                               .rows = {nullptr, tile_portable<1, 1, false>, tile_portable<2, 1, false>,
                                        tile_portable<3, 1, false>, tile_portable<4, 1, false>},
                               .panels = {nullptr, tile_portable<1, 1, true>, tile_portable<2, 1, true>,
                                          tile_portable<3, 1, true>, tile_portable<4, 1, true>},
                               .row_groups = {nullptr, tile_portable<1, 1, false>, tile_portable<2, 1, false>},
                               .group_panels = {0, 1, 1}};

#if defined(__x86_64__)

// Panels of 16 columns: 2 vectors of 8. 6 × 2 accumulators, 2 of b and 1 of a fill the 16 registers.
template <int M, int N, bool PANEL>
__attribute__((target("avx2,fma"))) void tile_avx2(const Tile& t) {
  constexpr int kRowsMax = 6;
  __m256 s[M][2 * N];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < 2 * N; ++j) {
      s[i][j] = t.start != nullptr ? _mm256_loadu_ps(t.start + i * t.start_stride + 8 * j) : _mm256_setzero_ps();
      if (t.bias != nullptr) s[i][j] = _mm256_add_ps(s[i][j], _mm256_loadu_ps(t.bias + 8 * j));
    }
  }
  const float* a = t.a;
  const float* b = t.b;
  for (int64_t k = 0; k < t.depth; ++k) {
    __m256 panel[2 * N];
#pragma GCC unroll 8
    for (int j = 0; j < 2 * N; ++j) panel[j] = _mm256_load_ps(b + (j / 2) * t.panel_floats + 8 * (j % 2));
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const __m256 x = _mm256_broadcast_ss(PANEL ? a + i : a + i * t.a_row);
#pragma GCC unroll 8
      for (int j = 0; j < 2 * N; ++j) s[i][j] = _mm256_fmadd_ps(x, panel[j], s[i][j]);
    }
    a += PANEL ? kRowsMax : 1;
    b += 16;
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < 2 * N; ++j) _mm256_storeu_ps(t.c + i * t.c_stride + 8 * j, s[i][j]);
  }
}

const GemmKernels kAvx2 = {.rows_max = 6,
                           .cols = 16,
                           .rows = {nullptr, tile_avx2<1, 1, false>, tile_avx2<2, 1, false>, tile_avx2<3, 1, false>,
                                    tile_avx2<4, 1, false>, tile_avx2<5, 1, false>, tile_avx2<6, 1, false>},
                           .panels = {nullptr, tile_avx2<1, 1, true>, tile_avx2<2, 1, true>, tile_avx2<3, 1, true>,
                                      tile_avx2<4, 1, true>, tile_avx2<5, 1, true>, tile_avx2<6, 1, true>},
                           .row_groups = {nullptr, tile_avx2<1, 4, false>, tile_avx2<2, 2, false>},
                           .group_panels = {0, 4, 2}};

// Panels of 32 columns: 2 vectors of 16. 12 × 2 accumulators of the 32 registers.
template <int M, int N, bool PANEL>
__attribute__((target("avx512f"))) void tile_avx512(const Tile& t) {
  constexpr int kRowsMax = 12;
  __m512 s[M][2 * N];
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < 2 * N; ++j) {
      s[i][j] = t.start != nullptr ? _mm512_loadu_ps(t.start + i * t.start_stride + 16 * j) : _mm512_setzero_ps();
      if (t.bias != nullptr) s[i][j] = _mm512_add_ps(s[i][j], _mm512_loadu_ps(t.bias + 16 * j));
    }
  }
  const float* a = t.a;
  const float* b = t.b;
  for (int64_t k = 0; k < t.depth; ++k) {
    __m512 panel[2 * N];
#pragma GCC unroll 8
    for (int j = 0; j < 2 * N; ++j) panel[j] = _mm512_load_ps(b + (j / 2) * t.panel_floats + 16 * (j % 2));
#pragma GCC unroll 16
    for (int i = 0; i < M; ++i) {
      const __m512 x = _mm512_set1_ps(PANEL ? a[i] : a[i * t.a_row]);
#pragma GCC unroll 8
      for (int j = 0; j < 2 * N; ++j) s[i][j] = _mm512_fmadd_ps(x, panel[j], s[i][j]);
    }
    a += PANEL ? kRowsMax : 1;
    b += 32;
  }
#pragma GCC unroll 16
  for (int i = 0; i < M; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < 2 * N; ++j) _mm512_storeu_ps(t.c + i * t.c_stride + 16 * j, s[i][j]);
  }
}

const GemmKernels kAvx512 = {
    .rows_max = 12,
    .cols = 32,
    .rows = {nullptr, tile_avx512<1, 1, false>, tile_avx512<2, 1, false>, tile_avx512<3, 1, false>,
             tile_avx512<4, 1, false>, tile_avx512<5, 1, false>, tile_avx512<6, 1, false>, tile_avx512<7, 1, false>,
             tile_avx512<8, 1, false>, tile_avx512<9, 1, false>, tile_avx512<10, 1, false>, tile_avx512<11, 1, false>,
             tile_avx512<12, 1, false>},
    .panels = {nullptr, tile_avx512<1, 1, true>, tile_avx512<2, 1, true>, tile_avx512<3, 1, true>,
               tile_avx512<4, 1, true>, tile_avx512<5, 1, true>, tile_avx512<6, 1, true>, tile_avx512<7, 1, true>,
               tile_avx512<8, 1, true>, tile_avx512<9, 1, true>, tile_avx512<10, 1, true>, tile_avx512<11, 1, true>,
               tile_avx512<12, 1, true>},
    .row_groups = {nullptr, tile_avx512<1, 4, false>, tile_avx512<2, 4, false>},
    .group_panels = {0, 4, 4}};

#endif

}  // namespace

const GemmKernels& gemm_kernels(Isa isa) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::avx512:
      return kAvx512;
    case Isa::avx2:
      return kAvx2;
    case Isa::portable:
      break;
  }
#else
  static_cast<void>(isa);
#endif
  return kPortable;
}

}  // namespace gleaner::cpu
