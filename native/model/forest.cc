// A forest is checked once, here; kernels trust it.
#include "model/forest.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "base/error.h"

namespace gleaner {

Forest make_forest(std::span<const SegmentSpec> segments) {
  Forest forest;
  forest.segments.reserve(segments.size());
  for (size_t i = 0; i < segments.size(); ++i) {
    const auto [length, parent] = segments[i];
    const auto fail = [&](const std::string& what) {
      return Error("ERR_GLEANER_INTERNAL", "segment " + std::to_string(i) + " " + what);
    };
    if (length <= 0) throw fail("has length " + std::to_string(length));
    if (parent < -1 || parent >= static_cast<int64_t>(i)) throw fail("has parent " + std::to_string(parent));
    Segment segment{
        .start = forest.tokens, .length = length, .parent = parent, .root = static_cast<int32_t>(i), .position = 0};
    if (parent >= 0) {
      const Segment& above = forest.segments[static_cast<size_t>(parent)];
      segment.root = above.root;
      segment.position = above.position + above.length;
      // A tree's segments lie together, so that one worker can own a whole tree.
      if (forest.segments.back().root != above.root) throw fail("is apart from its tree");
    }
    forest.tokens += length;
    if (forest.tokens > INT32_MAX) throw fail("ends past 2^31 tokens");
    forest.all.push_back({.segment = static_cast<int32_t>(i), .offset = 0, .count = length, .row = segment.start});
    forest.segments.push_back(segment);
  }
  forest.positions.resize(static_cast<size_t>(forest.tokens));
  for (const Segment& segment : forest.segments) {
    for (int64_t t = 0; t < segment.length; ++t) {
      forest.positions[static_cast<size_t>(segment.start + t)] = static_cast<int32_t>(segment.position + t);
    }
  }
  return forest;
}

int64_t longest_path(const Forest& forest) {
  int64_t longest = 0;
  for (const Segment& segment : forest.segments) longest = std::max(longest, segment.position + segment.length);
  return longest;
}

NeededRows needed_rows(const Forest& forest, std::span<const Target> targets) {
  NeededRows needed;
  needed.target_order.resize(targets.size());
  std::iota(needed.target_order.begin(), needed.target_order.end(), 0);
  std::stable_sort(needed.target_order.begin(), needed.target_order.end(), [&](int32_t a, int32_t b) {
    return targets[static_cast<size_t>(a)].row < targets[static_cast<size_t>(b)].row;
  });
  needed.targets.reserve(targets.size());
  size_t next = 0;  // in target_order
  const auto target_at = [&](size_t i) { return targets[static_cast<size_t>(needed.target_order[i])]; };
  for (size_t s = 0; s < forest.segments.size(); ++s) {
    const Segment& segment = forest.segments[s];
    const int64_t end = segment.start + segment.length;
    if (next == targets.size() || target_at(next).row >= end) continue;
    const int64_t first = target_at(next).row;
    const int64_t row = static_cast<int64_t>(needed.rows.size());
    needed.queries.push_back(
        {.segment = static_cast<int32_t>(s), .offset = first - segment.start, .count = end - first, .row = row});
    for (int64_t t = first; t < end; ++t) {
      needed.rows.push_back(static_cast<int32_t>(t));
      needed.positions.push_back(forest.positions[static_cast<size_t>(t)]);
    }
    for (; next < targets.size() && target_at(next).row < end; ++next) {
      needed.targets.push_back(
          {.row = static_cast<int32_t>(row + target_at(next).row - first), .token = target_at(next).token});
    }
  }
  return needed;
}

}  // namespace gleaner
