// The serial inner part of attention, one table of functions an instruction set. Forest and paged cache both arrive
// here as a path: a list of key rows by absolute position. A kv head's rows are (query, head of its group),
// query-major.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/cpu_features.h"

namespace gleaner::cpu {

constexpr int64_t kBlockRows = 64;           // rows of a block, where a group has fewer heads
constexpr int64_t kBlockScores = 64 * 1024;  // floats of a forward block's scores: a part of L2
constexpr int64_t kBlockKeys = 64;           // keys that are packed at once
constexpr int64_t kPathAlignment = 64;       // a path's list of rows starts at a multiple of it, whatever the window

constexpr int64_t round_up(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }
constexpr int64_t padded_head_dim(int64_t head_dim) { return round_up(head_dim, 16); }
constexpr int64_t max_block_rows(int64_t group) { return std::max(kBlockRows, group); }

/// Queries at positions [position, position + queries) of one path and the heads of kv_heads neighbouring kv heads.
struct ForwardBlock {
  const float* k = nullptr;  // the first kv head's first column
  const float* v = nullptr;
  int64_t k_stride = 0;
  int64_t v_stride = 0;
  const int32_t* key_rows = nullptr;  // row of the key at position base + i; up to the last query's own
  int64_t base = 0;                   // a multiple of kPathAlignment, not above the first position seen
  int64_t position = 0;
  int64_t queries = 0;
  int64_t kv_heads = 1;
  int64_t group = 0;  // heads of one kv head
  int64_t head_dim = 0;
  int64_t window = 0;
  float scale = 1;
  const float* q = nullptr;  // first query, first head
  int64_t q_stride = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
  float* lse = nullptr;  // may be null
  int64_t lse_stride = 0;
};

/// At most kBlockKeys keys of one segment, at positions [position, position + keys).
struct BackwardKeys {
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t k_stride = 0;
  int64_t v_stride = 0;
  float* dk = nullptr;
  float* dv = nullptr;
  int64_t dk_stride = 0;
  int64_t dv_stride = 0;
  int64_t position = 0;
  int64_t keys = 0;
  int64_t group = 0;
  int64_t head_dim = 0;
  int64_t window = 0;
  float scale = 1;
};

/// Queries that see some of those keys. dq is added to; delta = rowsum(dout * out).
struct BackwardQueries {
  int64_t position = 0;
  int64_t queries = 0;
  const float* q = nullptr;
  const float* dout = nullptr;
  const float* lse = nullptr;
  const float* delta = nullptr;
  float* dq = nullptr;
  int64_t q_stride = 0;
  int64_t dout_stride = 0;
  int64_t lse_stride = 0;
  int64_t delta_stride = 0;
  int64_t dq_stride = 0;
};

/// scratch: 64-byte aligned floats, as many as the functions below say.
struct AttentionKernels {
  void (*forward_block)(const ForwardBlock& block, float* scratch);
  /// A key block's backward: begin packs the keys and clears its sums, add takes one block of queries, end writes dk
  /// and dv.
  void (*backward_begin)(const BackwardKeys& keys, float* scratch);
  void (*backward_add)(const BackwardKeys& keys, const BackwardQueries& queries, float* scratch);
  void (*backward_end)(const BackwardKeys& keys, float* scratch);
  float (*dot)(const float* a, const float* b, int64_t n);
};
const AttentionKernels& attention_kernels(Isa isa);

/// Not a multiple of 4 KiB: the rows of a tile would share their cache sets.
constexpr int64_t scores_stride(int64_t columns) { return round_up(columns, kPathAlignment) + 16; }

constexpr int64_t forward_scratch_floats(int64_t group, int64_t head_dim, int64_t path) {
  const int64_t rows = max_block_rows(group);
  const int64_t scores = std::max(kBlockScores, group * scores_stride(path));
  return 2 * rows * padded_head_dim(head_dim) + kBlockKeys * padded_head_dim(head_dim) + scores +
         3 * round_up(rows, 16);
}

constexpr int64_t backward_scratch_floats(int64_t group, int64_t head_dim) {
  const int64_t rows = max_block_rows(group);
  return (5 * kBlockKeys + 3 * rows) * padded_head_dim(head_dim) + 2 * rows * kBlockKeys + 4 * round_up(rows, 16);
}

}  // namespace gleaner::cpu
