// The forest as kernels see it (design.md §2): one stream of tokens cut into segments, each with a parent or none.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace gleaner {

/// Tokens [start, start + length) of the stream. A token sees all tokens of its segment's ancestors and its own segment
/// up to itself. `position` is that of the first token: the parent's position + length, 0 for a root.
struct Segment {
  int64_t start = 0;
  int64_t length = 0;
  int32_t parent = -1;  // index of an earlier segment
  int32_t root = 0;     // index of the tree's first segment
  int64_t position = 0;
};

/// The last `count` tokens of a segment, as queries: rows [row, row + count) of a compact q / out matrix.
struct QueryRange {
  int32_t segment = 0;
  int64_t offset = 0;  // of the first query within its segment; offset + count == length
  int64_t count = 0;
  int64_t row = 0;
};

/// segments are in stream order and cover the stream without gaps; trees are contiguous.
struct Forest {
  std::vector<Segment> segments;
  std::vector<int32_t> positions;  // [tokens]
  std::vector<QueryRange> all;     // every token a query, one range a segment
  int64_t tokens = 0;
};

/// Attention's fixed sizes. Query head h reads kv head h / (heads / kv_heads). window 0: unlimited; else a query at
/// position p sees keys at positions > p - window (itself included), as transformers' sliding_window.
struct AttentionShape {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  float scale = 1;
  int64_t window = 0;
};

/// New rows of one sequence over a paged KV cache: rows [row, row + count) of q / out, the first at `position`; page i
/// of `pages` holds the slots of positions [i * page_size, (i + 1) * page_size). Their own k, v are in the cache
/// already.
struct CachedQuery {
  int64_t row = 0;
  int64_t count = 0;
  int64_t position = 0;
  std::span<const int32_t> pages;
};

}  // namespace gleaner
