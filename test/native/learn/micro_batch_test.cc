// What a micro-batch may not hold is found before anything is computed.
#include <doctest/doctest.h>

#include <functional>
#include <limits>
#include <string>

#include "base/error.h"
#include "learn/update.h"
#include "tiny.h"

namespace gleaner::test {
namespace {

MicroBatch good() {
  return {.ids = {1, 2, 3, 4, 5},
          .forest = make_forest(std::vector<SegmentSpec>{{3, -1}, {1, 0}, {1, 0}}),
          .targets = {{2, 4}, {3, 6}, {2, 5}, {4, 7}},
          .sequences = {{0, 2}, {2, 2}},
          .pairs = {{0, 1, -3, -4}}};
}

TEST_CASE("a good one passes; each fault has its code and is named") {
  CHECK_NOTHROW(check_micro_batch(good(), tiny_spec()));
  CHECK_NOTHROW(check_micro_batch({}, tiny_spec()));
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  const auto code = [](const std::function<void(MicroBatch&)>& spoil) -> std::string {
    MicroBatch batch = good();
    spoil(batch);
    try {
      check_micro_batch(batch, tiny_spec());
    } catch (const Error& error) {
      return error.code;
    }
    return "";
  };
  for (const int32_t id : {-1, 37, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
    CHECK(code([&](MicroBatch& batch) { batch.ids[2] = id; }) == "ERR_GLEANER_DATA");
    CHECK(code([&](MicroBatch& batch) { batch.targets[1].token = id; }) == "ERR_GLEANER_DATA");
  }
  CHECK(code([](MicroBatch& batch) { batch.ids.push_back(1); }) == "ERR_GLEANER_INTERNAL");
  CHECK(code([](MicroBatch& batch) { batch.targets[0].row = 5; }) == "ERR_GLEANER_INTERNAL");
  CHECK(code([](MicroBatch& batch) { batch.targets[0].row = -1; }) == "ERR_GLEANER_INTERNAL");
  CHECK(code([](MicroBatch& batch) { batch.sequences[1].count = 3; }) == "ERR_GLEANER_INTERNAL");
  CHECK(code([](MicroBatch& batch) { batch.sequences[1].count = -1; }) == "ERR_GLEANER_INTERNAL");
  CHECK(code([](MicroBatch& batch) { batch.sequences[0].begin = -1; }) == "ERR_GLEANER_INTERNAL");
  CHECK(code([](MicroBatch& batch) { batch.pairs[0].real = 2; }) == "ERR_GLEANER_INTERNAL");
  CHECK(code([](MicroBatch& batch) { batch.pairs[0].generated = -1; }) == "ERR_GLEANER_INTERNAL");
  CHECK(code([&](MicroBatch& batch) { batch.pairs[0].ref_real = kNan; }) == "ERR_GLEANER_NUMERIC");
  CHECK(code([&](MicroBatch& batch) { batch.pairs[0].ref_generated = std::numeric_limits<double>::infinity(); }) ==
        "ERR_GLEANER_NUMERIC");
}

TEST_CASE("a path longer than the model's positions is refused, a stream longer than that is not") {
  const auto batch = [](std::vector<SegmentSpec> segments) {
    MicroBatch result;
    result.forest = make_forest(segments);
    result.ids.assign(static_cast<size_t>(result.forest.tokens), 1);
    return result;
  };
  CHECK_NOTHROW(check_micro_batch(batch({{512, -1}, {512, -1}}), tiny_spec()));
  CHECK_NOTHROW(check_micro_batch(batch({{500, -1}, {12, 0}, {12, 0}}), tiny_spec()));
  CHECK_THROWS_AS(check_micro_batch(batch({{500, -1}, {13, 0}}), tiny_spec()), Error);
}

}  // namespace
}  // namespace gleaner::test
