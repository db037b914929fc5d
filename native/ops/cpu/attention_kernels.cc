// Vector words of each instruction set, and the kernels of attention_tiles.h built from them once a set.
// The standard headers stand first: nothing of theirs may be compiled under a set that the machine may lack.
#include "ops/cpu/attention_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 blames its own _mm512_… headers (bug 105593)
#endif

namespace gleaner::cpu {
namespace {

constexpr float kLog2e = 1.44269504088896341f;
constexpr double kLn2 = 0.693147180559945309;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

namespace portable {
constexpr int64_t kWidth = 4;
constexpr int kPanelVectors = 2;
constexpr int kMaxVectors = 2;
constexpr int kTileRows = 4;
using Vec = float __attribute__((vector_size(16)));
using Int = int32_t __attribute__((vector_size(16)));
using Bits = uint32_t __attribute__((vector_size(16)));
inline Vec load(const float* p) {
  Vec x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline void store(float* p, Vec x) { std::memcpy(p, &x, sizeof x); }
inline Vec broadcast(float x) { return Vec{x, x, x, x}; }
inline Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
inline Vec max(Vec a, Vec b) { return a > b ? a : b; }
/// panel[d * ld + i] = row_i[d] for kWidth rows.
template <typename Row>
inline void transpose(const Row& row, int64_t n, float* panel, int64_t ld) {
  for (int64_t i = 0; i < kWidth; ++i) {
    const float* from = row(i);
    for (int64_t d = 0; d < n; ++d) panel[d * ld + i] = from[d];
  }
}
inline Vec power_of_two(Vec n) {
  return reinterpret_cast<Vec>((reinterpret_cast<Bits>(__builtin_convertvector(n, Int)) + 127u) << 23);
}
inline Vec round(Vec x) {
  const Vec magic = broadcast(12582912.0f);  // 1.5 * 2^23: the sum has no bits below one
  return (x + magic) - magic;
}
inline Vec zero_below(Vec x, float limit, Vec y) { return x < broadcast(limit) ? Vec{} : y; }
#include "ops/cpu/attention_tiles.h"
}  // namespace portable

#if defined(__x86_64__)
namespace avx2 {
#pragma GCC push_options
#pragma GCC target("avx2,fma")
constexpr int64_t kWidth = 8;
constexpr int kPanelVectors = 2;
constexpr int kMaxVectors = 2;
constexpr int kTileRows = 6;
using Vec = __m256;
inline Vec load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Vec x) { _mm256_storeu_ps(p, x); }
inline Vec broadcast(float x) { return _mm256_set1_ps(x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
inline Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
inline Vec round(Vec x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec power_of_two(Vec n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
inline Vec zero_below(Vec x, float limit, Vec y) {
  return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(limit), _CMP_LT_OQ), y);
}
template <typename Row>
inline void transpose(const Row& row, int64_t n, float* panel, int64_t ld) {
  for (int64_t d = 0; d < n; d += kWidth) {
    const int64_t left = std::min(kWidth, n - d);
    const __m256i mask =
        _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(left)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    Vec r[8], t[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) r[i] = left == kWidth ? load(row(i) + d) : _mm256_maskload_ps(row(i) + d, mask);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
      r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
      r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
      t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      if (i < left) store(panel + (d + i) * ld, t[i]);
    }
  }
}
#include "ops/cpu/attention_tiles.h"
#pragma GCC pop_options
}  // namespace avx2

namespace avx512 {
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
constexpr int64_t kWidth = 16;
constexpr int kPanelVectors = 2;
constexpr int kMaxVectors = 4;
constexpr int kTileRows = 8;
using Vec = __m512;
inline Vec load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Vec x) { _mm512_storeu_ps(p, x); }
inline Vec broadcast(float x) { return _mm512_set1_ps(x); }
inline Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec round(Vec x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
inline Vec power_of_two(Vec n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
inline Vec zero_below(Vec x, float limit, Vec y) {
  return _mm512_mask_mov_ps(y, _mm512_cmp_ps_mask(x, _mm512_set1_ps(limit), _CMP_LT_OQ), _mm512_setzero_ps());
}
template <typename Row>
inline void transpose(const Row& row, int64_t n, float* panel, int64_t ld) {
  for (int64_t d = 0; d < n; d += kWidth) {
    const int64_t left = std::min(kWidth, n - d);
    const __mmask16 mask = static_cast<__mmask16>((1u << left) - 1);
    Vec r[16], t[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = _mm512_maskz_loadu_ps(mask, row(i) + d);
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
      t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
      t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {  // then r[i + c], lane l: column 4 l + c of rows i … i + 3
      r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
      r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
      r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      const Vec even0 = _mm512_shuffle_f32x4(r[c], r[c + 4], 0x88),
                even1 = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0x88);
      const Vec odd0 = _mm512_shuffle_f32x4(r[c], r[c + 4], 0xdd),
                odd1 = _mm512_shuffle_f32x4(r[c + 8], r[c + 12], 0xdd);
      t[c] = _mm512_shuffle_f32x4(even0, even1, 0x88);
      t[c + 8] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
      t[c + 4] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
      t[c + 12] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
    }
    if (left == kWidth) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) store(panel + (d + i) * ld, t[i]);
    } else {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (i < left) store(panel + (d + i) * ld, t[i]);
      }
    }
  }
}
#include "ops/cpu/attention_tiles.h"
#pragma GCC pop_options
}  // namespace avx512
#endif

}  // namespace

const AttentionKernels& attention_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512) return avx512::kKernels;
  if (isa == Isa::avx2) return avx2::kKernels;
#endif
  return portable::kKernels;
}

}  // namespace gleaner::cpu
