// Builds and checks forests, and finds the rows of the last layer that anything depends on.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "ops/ops.h"
#include "ops/segments.h"

namespace gleaner {

/// How a segment arrives: tokens follow each other in the order of the segments.
struct SegmentSpec {
  int64_t length = 0;
  int32_t parent = -1;
};

/// Throws ERR_GLEANER_INTERNAL, naming the segment, when a parent is not an earlier segment of the same tree or a
/// length is not positive.
Forest make_forest(std::span<const SegmentSpec> segments);

/// Tokens on the longest path from a root to a leaf.
int64_t longest_path(const Forest& forest);

/// "The log-probability of `token` at hidden row `row`" of the stream.
struct Target {
  int32_t row = 0;
  int32_t token = 0;
};

/// What the last layer has to compute: of each segment the rows from its first target on.
struct NeededRows {
  std::vector<QueryRange> queries;
  std::vector<int32_t> rows;          // [needed], stream rows, ascending
  std::vector<int32_t> positions;     // [needed]
  std::vector<HeadTarget> targets;    // sorted by row, rows counted within `rows`
  std::vector<int32_t> target_order;  // targets[i] is the caller's target target_order[i]
};
NeededRows needed_rows(const Forest& forest, std::span<const Target> targets);

}  // namespace gleaner
