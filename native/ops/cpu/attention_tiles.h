// Attention's kernels over the vector words Vec, load, store, broadcast, fma, max, round, power_of_two, zero_below and
// transpose of the including namespace; attention_kernels.cc includes this text once an instruction set, so it has no
// guard and includes nothing. Every sum is one chain of fma over keys, queries or head_dim in order; a masked key's
// probability is an exact 0, which leaves a chain as it is. So tiles may be cut anywhere.

constexpr int64_t kPanel = kPanelVectors * kWidth;  // keys of one panel of transposed keys

/// 2^x for x <= 0, about 1 ulp; 0 below 2^-126. Polynomial of Cephes' exp2f on [-1/2, 1/2].
inline Vec exp2_of(Vec x) {
  const Vec whole = round(x);
  const Vec f = x - whole;
  Vec y = fma(broadcast(1.535336188319500e-4f), f, broadcast(1.339887440266574e-3f));
  y = fma(y, f, broadcast(9.618437357674640e-3f));
  y = fma(y, f, broadcast(5.550332471162809e-2f));
  y = fma(y, f, broadcast(2.402264791363012e-1f));
  y = fma(y, f, broadcast(6.931472028550421e-1f));
  y = fma(y, f, broadcast(1.0f));
  return zero_below(x, -126.0f, y * power_of_two(whole));
}

/// Lanes first added 0 + n/2, 1 + n/2 + 1, …: one fixed tree.
inline float sum_of_lanes(Vec x) {
  float lanes[kWidth];
  store(lanes, x);
  for (int64_t half = kWidth / 2; half > 0; half /= 2) {
    for (int64_t i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  }
  return lanes[0];
}

inline float max_of_lanes(Vec x) {
  float lanes[kWidth];
  store(lanes, x);
  return *std::max_element(lanes, lanes + kWidth);
}

/// c (+)= a b. a [kRows, depth], or [depth, kRows] when transposed; b [depth, kVectors vectors].
template <int kRows, int kVectors, bool kTransposed>
inline void product_tile(int64_t depth, const float* a, int64_t lda, const float* b, int64_t ldb, bool add, float* c,
                         int64_t ldc) {
  Vec sums[kRows][kVectors];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sums[i][j] = add ? load(c + i * ldc + j * kWidth) : broadcast(0);
  }
  for (int64_t k = 0; k < depth; ++k) {
    Vec columns[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) columns[j] = load(b + k * ldb + j * kWidth);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const Vec x = broadcast(kTransposed ? a[k * lda + i] : a[i * lda + k]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sums[i][j] = fma(x, columns[j], sums[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(c + i * ldc + j * kWidth, sums[i][j]);
  }
}

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Rows of c in tiles; depth_of(first row, rows) is the part of the depth that is not all zero there.
template <int kVectors, bool kTransposed, typename DepthOf>
inline void product_columns(int64_t rows, const DepthOf& depth_of, const float* a, int64_t lda, const float* b,
                            int64_t ldb, bool add, float* c, int64_t ldc) {
  constexpr int kFull = kVectors == 4 ? 6 : kTileRows;
  const auto tile = [&]<int kRows>(std::integral_constant<int, kRows>, int64_t row) __attribute__((always_inline)) {
    const Range depth = depth_of(row, int64_t{kRows});
    if (depth.begin >= depth.end && add) return;
    const float* from = kTransposed ? a + depth.begin * lda + row : a + row * lda + depth.begin;
    product_tile<kRows, kVectors, kTransposed>(std::max<int64_t>(0, depth.end - depth.begin), from, lda,
                                               b + depth.begin * ldb, ldb, add, c + row * ldc, ldc);
  };
  int64_t row = 0;
  for (; row + kFull <= rows; row += kFull) tile(std::integral_constant<int, kFull>{}, row);
  if (kFull > 4 && row + 4 <= rows) {
    tile(std::integral_constant<int, 4>{}, row);
    row += 4;
  }
  if (row + 2 <= rows) {
    tile(std::integral_constant<int, 2>{}, row);
    row += 2;
  }
  if (row < rows) tile(std::integral_constant<int, 1>{}, row);
}

template <bool kTransposed, typename DepthOf>
inline void product(int64_t rows, int64_t vectors, const DepthOf& depth_of, const float* a, int64_t lda, const float* b,
                    int64_t ldb, bool add, float* c, int64_t ldc) {
  while (vectors > 0) {
    int64_t now = std::min<int64_t>(vectors, kMaxVectors);
    if (vectors == kMaxVectors + 1 && kMaxVectors > 2) now = kMaxVectors - 1;  // 5 is 3 + 2
    if (now == 4) {
      if constexpr (kMaxVectors >= 4) product_columns<4, kTransposed>(rows, depth_of, a, lda, b, ldb, add, c, ldc);
    } else if (now == 3) {
      if constexpr (kMaxVectors >= 3) product_columns<3, kTransposed>(rows, depth_of, a, lda, b, ldb, add, c, ldc);
    } else if (now == 2) {
      product_columns<2, kTransposed>(rows, depth_of, a, lda, b, ldb, add, c, ldc);
    } else {
      product_columns<1, kTransposed>(rows, depth_of, a, lda, b, ldb, add, c, ldc);
    }
    vectors -= now;
    b += now * kWidth;
    c += now * kWidth;
  }
}

/// Into L2, not L1, whose sets a cache's far-apart rows would fight over. Without it decode waits for memory half its
/// time.
inline void prefetch_rows(const float* from, int64_t stride, const int32_t* rows, int64_t count, int64_t floats) {
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t d = 0; d < floats; d += 16) __builtin_prefetch(from + rows[i] * stride + d, 0, 2);
  }
}

/// A panel [head_dim, kPanel] of keys; lanes past `keys` repeat the last key and are masked later.
template <typename Row>
inline void pack_panel(const Row& row, int64_t keys, int64_t head_dim, float* panel) {
  for (int64_t lane = 0; lane < kPanel; lane += kWidth) {
    transpose([&](int64_t i) { return row(std::min(lane + i, keys - 1)); }, head_dim, panel + lane, kPanel);
  }
}

/// to [rows, padded]: columns past head_dim are 0.
inline void pack_row(const float* from, int64_t head_dim, int64_t padded, float factor, float* to) {
  const Vec scale = broadcast(factor);
  int64_t d = 0;
  for (; d + kWidth <= head_dim; d += kWidth) store(to + d, load(from + d) * scale);
  for (; d < head_dim; ++d) to[d] = from[d] * factor;
  for (; d < padded; ++d) to[d] = 0;
}

/// Of a row: the keys it sees, as columns [begin, end) of its block.
struct Visible {
  int32_t begin = 0;
  int32_t end = 0;
};

inline int64_t seen_from(int64_t position, int64_t window) {
  return window > 0 ? std::max<int64_t>(0, position - window + 1) : 0;
}
inline int64_t down(int64_t column) { return column / kWidth * kWidth; }
inline int64_t up(int64_t column) { return (column + kWidth - 1) / kWidth * kWidth; }

/// out += p·V of one row straight from the keys' rows: packing would cost more than it saves.
template <int kVectors>
inline void weighted_sum(const float* v, int64_t v_stride, const int32_t* key_rows, const float* p, int64_t keys,
                         float* out) {
  Vec sums[kVectors];
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) sums[j] = load(out + j * kWidth);
  for (int64_t i = 0; i < keys; ++i) {
    const float* from = v + key_rows[i] * v_stride;
    const Vec x = broadcast(p[i]);
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sums[j] = fma(x, load(from + j * kWidth), sums[j]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) store(out + j * kWidth, sums[j]);
}

/// Scores of one row become probabilities times their sum, which is returned; `maximum` is what was subtracted.
inline float softmax_row(float* row, Visible visible, float& maximum) {
  const int64_t begin = down(visible.begin), end = up(visible.end);
  std::fill(row + begin, row + visible.begin, kMinusInfinity);
  std::fill(row + visible.end, row + end, kMinusInfinity);
  Vec most = broadcast(kMinusInfinity);
  for (int64_t i = begin; i < end; i += kWidth) most = max(most, load(row + i));
  maximum = max_of_lanes(most);
  const Vec shift = broadcast(maximum);
  Vec sums = broadcast(0);
  for (int64_t i = begin; i < end; i += kWidth) {
    const Vec p = exp2_of(load(row + i) - shift);
    store(row + i, p);
    sums = sums + p;
  }
  return sum_of_lanes(sums);
}

void forward_block(const ForwardBlock& block, float* scratch) {
  const int64_t rows = block.queries * block.group, all_rows = rows * block.kv_heads;
  const int64_t head_dim = block.head_dim, padded = up(head_dim);
  const int64_t columns = block.position + block.queries - block.base;
  const int64_t ld = scores_stride(columns);
  float* q = scratch;                       // [kv_heads, rows, padded], times scale·log2(e)
  float* out = q + all_rows * padded;       // [kv_heads, rows, padded]
  float* packed = out + all_rows * padded;  // a panel of keys, then blocks of values
  float* inverse = packed + kBlockKeys * padded_head_dim(head_dim);
  Visible* visible = reinterpret_cast<Visible*>(inverse + round_up(all_rows, 16));
  float* scores = inverse + 3 * round_up(all_rows, 16);  // [kv_heads, rows, ld]

  const auto column_of = [&](int64_t kv_head, int64_t r) {
    return (kv_head * block.group + r % block.group) * head_dim;
  };
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t query = r / block.group, position = block.position + query;
    for (int64_t h = 0; h < block.kv_heads; ++h) {
      pack_row(block.q + query * block.q_stride + column_of(h, r), head_dim, padded, block.scale * kLog2e,
               q + (h * rows + r) * padded);
    }
    visible[r] = {static_cast<int32_t>(std::max<int64_t>(0, seen_from(position, block.window) - block.base)),
                  static_cast<int32_t>(position + 1 - block.base)};
  }

  int64_t first = 0, last = 0;  // rows that see the panel: both move on, as both ends of `visible` grow with the row
  for (int64_t column = visible[0].begin / kPanel * kPanel; column < columns; column += kPanel) {
    while (visible[first].end <= column) ++first;
    while (last < rows && visible[last].begin < column + kPanel) ++last;
    const int32_t* key_rows = block.key_rows + column;
    const int64_t seen = std::max<int64_t>(0, visible[first].begin - column);  // earlier keys may have no row any more
    const int64_t following = std::clamp<int64_t>(columns - column - kPanel, 0, kPanel);
    for (int64_t h = 0; h < block.kv_heads; ++h) {
      const float* k = block.k + h * head_dim;
      prefetch_rows(k, block.k_stride, key_rows + kPanel, following, head_dim);
      pack_panel([&](int64_t i) { return k + key_rows[std::max(i, seen)] * block.k_stride; },
                 std::min(kPanel, columns - column), head_dim, packed);
      product<false>(
          last - first, kPanelVectors,
          [&](int64_t, int64_t) {
            return Range{0, head_dim};
          },
          q + (h * rows + first) * padded, padded, packed, kPanel, false, scores + (h * rows + first) * ld + column,
          ld);
    }
  }

  for (int64_t r = 0; r < rows; ++r) {
    const int64_t widest_begin = visible[std::max<int64_t>(0, r - kTileRows + 1)].begin, begin = down(visible[r].begin);
    const int64_t widest_end = visible[std::min(rows - 1, r + kTileRows - 1)].end, end = up(visible[r].end);
    for (int64_t h = 0; h < block.kv_heads; ++h) {
      float* row = scores + (h * rows + r) * ld;
      float maximum;
      const float sum = softmax_row(row, visible[r], maximum);
      inverse[h * rows + r] = 1 / sum;
      if (block.lse != nullptr) {
        block.lse[(r / block.group) * block.lse_stride + h * block.group + r % block.group] =
            static_cast<float>((static_cast<double>(maximum) + std::log2(static_cast<double>(sum))) * kLn2);
      }
      // A tile reads the union of its rows' columns.
      for (int64_t i = widest_begin; i < begin; ++i) row[i] = 0;
      for (int64_t i = end; i < widest_end; ++i) row[i] = 0;
    }
  }

  std::fill(out, out + all_rows * padded, 0.0f);
  first = last = 0;
  for (int64_t column = visible[0].begin; column < columns; column += kBlockKeys) {
    const int64_t keys = std::min(kBlockKeys, columns - column);
    while (visible[first].end <= column) ++first;
    while (last < rows && visible[last].begin < column + keys) ++last;
    const int32_t* key_rows = block.key_rows + column;
    const int64_t following = std::clamp<int64_t>(columns - column - kBlockKeys, 0, kBlockKeys);
    for (int64_t h = 0; h < block.kv_heads; ++h) {
      const float* v = block.v + h * head_dim;
      prefetch_rows(v, block.v_stride, key_rows + kBlockKeys, following, head_dim);
      const float* p = scores + (h * rows + first) * ld + column;
      float* to = out + (h * rows + first) * padded;
      if (rows == 1 && padded == head_dim) {
        int64_t d = 0;
        for (; d + 4 * kWidth <= padded; d += 4 * kWidth)
          weighted_sum<4>(v + d, block.v_stride, key_rows, p, keys, to + d);
        for (; d + 2 * kWidth <= padded; d += 2 * kWidth)
          weighted_sum<2>(v + d, block.v_stride, key_rows, p, keys, to + d);
        for (; d < padded; d += kWidth) weighted_sum<1>(v + d, block.v_stride, key_rows, p, keys, to + d);
        continue;
      }
      for (int64_t i = 0; i < keys; ++i)
        pack_row(v + key_rows[i] * block.v_stride, head_dim, padded, 1, packed + i * padded);
      const auto depth_of = [&](int64_t row, int64_t count) {
        return Range{std::max<int64_t>(0, visible[first + row].begin - column),
                     std::min<int64_t>(keys, visible[first + row + count - 1].end - column)};
      };
      product<false>(last - first, padded / kWidth, depth_of, p, ld, packed, padded, true, to, padded);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < block.kv_heads; ++h) {
      pack_row(out + (h * rows + r) * padded, head_dim, head_dim, inverse[h * rows + r],
               block.out + (r / block.group) * block.out_stride + column_of(h, r));
    }
  }
}

/// Where the backward of a key block keeps what.
struct BackwardScratch {
  BackwardScratch(const BackwardKeys& keys, float* scratch) : padded(up(keys.head_dim)) {
    const int64_t rows = max_block_rows(keys.group);
    const auto take = [&](int64_t floats) { return std::exchange(scratch, scratch + floats); };
    k_panels = take(kBlockKeys * padded);
    v_panels = take(kBlockKeys * padded);
    k = take(kBlockKeys * padded);
    dk = take(kBlockKeys * padded);
    dv = take(kBlockKeys * padded);
    q = take(rows * padded);
    dout = take(rows * padded);
    dq = take(rows * padded);
    p = take(rows * kBlockKeys);
    ds = take(rows * kBlockKeys);
    lse = take(round_up(rows, 16));
    delta = take(round_up(rows, 16));
    visible = reinterpret_cast<Visible*>(scratch);
  }
  int64_t padded;
  float *k_panels, *v_panels;  // [kBlockKeys / kPanel, head_dim, kPanel]
  float *k, *dk, *dv;          // [keys, padded]
  float *q, *dout, *dq;        // [rows, padded]; q times scale·log2(e)
  float *p, *ds;               // [rows, kBlockKeys]
  float *lse, *delta;          // [rows]; lse in base 2, delta times scale
  Visible* visible;            // [rows]
};

void backward_begin(const BackwardKeys& keys, float* scratch) {
  const BackwardScratch at(keys, scratch);
  for (int64_t i = 0; i < keys.keys; i += kPanel) {
    const int64_t count = std::min(kPanel, keys.keys - i);
    pack_panel([&](int64_t j) { return keys.k + (i + j) * keys.k_stride; }, count, keys.head_dim,
               at.k_panels + i * keys.head_dim);
    pack_panel([&](int64_t j) { return keys.v + (i + j) * keys.v_stride; }, count, keys.head_dim,
               at.v_panels + i * keys.head_dim);
  }
  for (int64_t i = 0; i < keys.keys; ++i)
    pack_row(keys.k + i * keys.k_stride, keys.head_dim, at.padded, 1, at.k + i * at.padded);
  std::fill(at.dk, at.dk + keys.keys * at.padded, 0.0f);
  std::fill(at.dv, at.dv + keys.keys * at.padded, 0.0f);
}

void backward_add(const BackwardKeys& keys, const BackwardQueries& queries, float* scratch) {
  const BackwardScratch at(keys, scratch);
  const int64_t rows = queries.queries * keys.group, head_dim = keys.head_dim, padded = at.padded,
                vectors = padded / kWidth;
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t query = r / keys.group, head = r % keys.group, position = queries.position + query;
    pack_row(queries.q + query * queries.q_stride + head * head_dim, head_dim, padded, keys.scale * kLog2e,
             at.q + r * padded);
    pack_row(queries.dout + query * queries.dout_stride + head * head_dim, head_dim, padded, 1, at.dout + r * padded);
    pack_row(queries.dq + query * queries.dq_stride + head * head_dim, head_dim, padded, 1, at.dq + r * padded);
    at.lse[r] = queries.lse[query * queries.lse_stride + head] * kLog2e;
    at.delta[r] = queries.delta[query * queries.delta_stride + head] * keys.scale;
    at.visible[r] = {static_cast<int32_t>(std::max<int64_t>(0, seen_from(position, keys.window) - keys.position)),
                     static_cast<int32_t>(std::min(keys.keys, position + 1 - keys.position))};
  }
  const Visible* visible = at.visible;

  int64_t first = 0, last = 0;
  for (int64_t column = 0; column < keys.keys; column += kPanel) {
    while (first < rows && visible[first].end <= column) ++first;
    while (last < rows && visible[last].begin < column + kPanel) ++last;
    if (first >= last) continue;
    const auto all = [&](int64_t, int64_t) { return Range{0, head_dim}; };
    product<false>(last - first, kPanelVectors, all, at.q + first * padded, padded, at.k_panels + column * head_dim,
                   kPanel, false, at.p + first * kBlockKeys + column, kBlockKeys);
    product<false>(last - first, kPanelVectors, all, at.dout + first * padded, padded, at.v_panels + column * head_dim,
                   kPanel, false, at.ds + first * kBlockKeys + column, kBlockKeys);
  }

  const Vec scale = broadcast(keys.scale);
  const int64_t width = up(keys.keys);
  for (int64_t r = 0; r < rows; ++r) {
    float* p = at.p + r * kBlockKeys;
    float* ds = at.ds + r * kBlockKeys;
    const int64_t begin = down(visible[r].begin), end = up(visible[r].end);
    const auto blank = [&](int64_t from, int64_t to, float score) {
      std::fill(p + from, p + to, score);
      std::fill(ds + from, ds + to, 0.0f);
    };
    blank(0, begin, 0);
    blank(begin, visible[r].begin, kMinusInfinity);
    blank(visible[r].end, end, kMinusInfinity);
    blank(end, width, 0);
    const Vec lse = broadcast(at.lse[r]), delta = broadcast(at.delta[r]);
    for (int64_t i = begin; i < end; i += kWidth) {
      const Vec probability = exp2_of(load(p + i) - lse);
      store(p + i, probability);
      store(ds + i, probability * (load(ds + i) * scale - delta));
    }
  }

  const auto keys_of = [&](int64_t row, int64_t count) {
    return Range{visible[row].begin, visible[row + count - 1].end};
  };
  product<false>(rows, vectors, keys_of, at.ds, kBlockKeys, at.k, padded, true, at.dq, padded);
  const auto rows_of = [&](int64_t key, int64_t count) {
    const auto* from = std::partition_point(visible, visible + rows, [&](Visible row) { return row.end <= key; });
    const auto* to = std::partition_point(from, visible + rows, [&](Visible row) { return row.begin < key + count; });
    return Range{from - visible, to - visible};
  };
  product<true>(keys.keys, vectors, rows_of, at.ds, kBlockKeys, at.q, padded, true, at.dk, padded);
  product<true>(keys.keys, vectors, rows_of, at.p, kBlockKeys, at.dout, padded, true, at.dv, padded);

  for (int64_t r = 0; r < rows; ++r) {
    float* to = queries.dq + (r / keys.group) * queries.dq_stride + (r % keys.group) * head_dim;
    std::copy(at.dq + r * padded, at.dq + r * padded + head_dim, to);
  }
}

void backward_end(const BackwardKeys& keys, float* scratch) {
  const BackwardScratch at(keys, scratch);
  const float factor =
      static_cast<float>(kLn2 / static_cast<double>(keys.scale));  // q was packed times scale·log2(e), ds times scale
  for (int64_t i = 0; i < keys.keys; ++i) {
    pack_row(at.dk + i * at.padded, keys.head_dim, keys.head_dim, factor, keys.dk + i * keys.dk_stride);
    pack_row(at.dv + i * at.padded, keys.head_dim, keys.head_dim, 1, keys.dv + i * keys.dv_stride);
  }
}

float dot(const float* a, const float* b, int64_t n) {
  Vec sums = broadcast(0);
  int64_t i = 0;
  for (; i + kWidth <= n; i += kWidth) sums = fma(load(a + i), load(b + i), sums);
  float sum = sum_of_lanes(sums);
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

const AttentionKernels kKernels = {forward_block, backward_begin, backward_add, backward_end, dot};
