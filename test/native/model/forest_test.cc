// Forests as they are checked and cut: positions, errors that name the segment, and the rows that a last layer has to
// give.
#include "model/forest.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "tiny.h"

namespace gleaner::test {
namespace {

TEST_CASE("positions go on from the parent's end, roots from 0") {
  const Forest forest = make_forest(std::vector<SegmentSpec>{{3, -1}, {2, 0}, {1, 1}, {2, 0}, {2, -1}});
  CHECK(forest.tokens == 10);
  CHECK(forest.positions == std::vector<int32_t>{0, 1, 2, 3, 4, 5, 3, 4, 0, 1});
  CHECK(forest.segments[2].root == 0);
  CHECK(forest.segments[4].root == 4);
  CHECK(forest.segments[3].start == 6);
  CHECK(forest.all.size() == 5);
  CHECK(forest.all[3].row == 6);
  CHECK(longest_path(forest) == 6);
  CHECK(longest_path(make_forest(std::vector<SegmentSpec>{})) == 0);
}

TEST_CASE("what is no forest is refused, and the segment named") {
  const auto message = [](const std::vector<SegmentSpec>& segments) -> std::string {
    try {
      make_forest(segments);
    } catch (const Error& error) {
      CHECK(error.code == "ERR_GLEANER_INTERNAL");
      return error.what();
    }
    return "";
  };
  CHECK(message({{0, -1}}) == "segment 0 has length 0");
  CHECK(message({{2, -1}, {-5, 0}}) == "segment 1 has length -5");
  CHECK(message({{2, 0}}) == "segment 0 has parent 0");
  CHECK(message({{2, -1}, {2, 1}}) == "segment 1 has parent 1");
  CHECK(message({{2, -1}, {2, -2}}) == "segment 1 has parent -2");
  CHECK(message({{2, -1}, {2, 7}}) == "segment 1 has parent 7");
  CHECK(message({{2, -1}, {2, -1}, {2, 0}}) == "segment 2 is apart from its tree");
  CHECK(message({{int64_t{1} << 31, -1}}) == "segment 0 ends past 2^31 tokens");
  CHECK(message({{2, -1}, {2, 0}, {2, 0}, {2, -1}}).empty());
}

TEST_CASE("needed rows: of each segment from its first target on, targets in head order") {
  const Forest forest = make_forest(std::vector<SegmentSpec>{{4, -1}, {3, 0}, {2, 0}, {5, -1}});
  // Out of order, two at one row, one segment without any.
  const std::vector<Target> targets{{12, 9}, {5, 1}, {3, 2}, {3, 4}, {6, 8}};
  const NeededRows needed = needed_rows(forest, targets);
  CHECK(needed.rows == std::vector<int32_t>{3, 5, 6, 12, 13});
  CHECK(needed.positions == std::vector<int32_t>{3, 5, 6, 3, 4});
  CHECK(needed.target_order == std::vector<int32_t>{2, 3, 1, 4, 0});
  REQUIRE(needed.queries.size() == 3);
  CHECK(needed.queries[0].segment == 0);
  CHECK(needed.queries[0].offset == 3);
  CHECK(needed.queries[1].segment == 1);
  CHECK(needed.queries[1].count == 2);
  CHECK(needed.queries[2].segment == 3);
  CHECK(needed.queries[2].row == 3);
  std::vector<std::pair<int32_t, int32_t>> head;
  for (const HeadTarget& target : needed.targets) head.emplace_back(target.row, target.token);
  CHECK(head == std::vector<std::pair<int32_t, int32_t>>{{0, 2}, {0, 4}, {1, 1}, {2, 8}, {3, 9}});
  CHECK(needed_rows(forest, {}).rows.empty());
}

TEST_CASE("needed rows of random forests: each target is at its own row, each query ends its segment") {
  std::mt19937 random(3);
  for (int repeat = 0; repeat < 200; ++repeat) {
    std::vector<SegmentSpec> segments;
    int32_t root = 0;
    for (int32_t i = 0; i < 1 + static_cast<int32_t>(random() % 8); ++i) {
      const bool is_root = i == 0 || random() % 3 == 0;
      if (is_root) root = i;
      segments.push_back({1 + static_cast<int64_t>(random() % 6),
                          is_root ? -1 : root + static_cast<int32_t>(random() % static_cast<uint32_t>(i - root))});
    }
    const Forest forest = make_forest(segments);
    std::vector<Target> targets;
    for (uint32_t i = 0; i < random() % 10; ++i) {
      targets.push_back(
          {static_cast<int32_t>(random() % static_cast<uint32_t>(forest.tokens)), static_cast<int32_t>(random() % 37)});
    }
    const NeededRows needed = needed_rows(forest, targets);
    REQUIRE(needed.targets.size() == targets.size());
    for (size_t i = 0; i < targets.size(); ++i) {
      const Target& asked = targets[static_cast<size_t>(needed.target_order[i])];
      CHECK(needed.rows[static_cast<size_t>(needed.targets[i].row)] == asked.row);
      CHECK(needed.targets[i].token == asked.token);
      if (i > 0) CHECK(needed.targets[i].row >= needed.targets[i - 1].row);
    }
    int64_t row = 0;
    for (const QueryRange& query : needed.queries) {
      const Segment& segment = forest.segments[static_cast<size_t>(query.segment)];
      CHECK(query.row == row);
      CHECK(query.offset + query.count == segment.length);
      for (int64_t t = 0; t < query.count; ++t, ++row)
        CHECK(needed.rows[static_cast<size_t>(row)] == segment.start + query.offset + t);
    }
    CHECK(row == static_cast<int64_t>(needed.rows.size()));
  }
}

}  // namespace
}  // namespace gleaner::test
