// What is held is counted by purpose, limits hold, and an arena that counts needs what one with memory uses.
#include "base/memory.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "base/error.h"

namespace gleaner::test {
namespace {

TEST_CASE("blocks are counted while they live, moved ones once") {
  Memory memory;
  {
    Buffer a = memory.allocate(Purpose::weights, 1000);
    Buffer b = memory.allocate(Purpose::kv_cache, 500);
    CHECK(memory.current_bytes() == 1500);
    CHECK(memory.bytes_of(Purpose::weights) == 1000);
    for (size_t i = 0; i < 1000; ++i) CHECK(a.data()[i] == std::byte{0});
    Buffer c = std::move(a);
    CHECK(c.bytes() == 1000);
    CHECK(a.data() == nullptr);  // NOLINT(bugprone-use-after-move): what is left is empty
    b = std::move(c);            // the 500 are given back
    CHECK(memory.current_bytes() == 1000);
    CHECK(memory.bytes_of(Purpose::kv_cache) == 0);
    CHECK(memory.bytes_of(Purpose::weights) == 1000);
  }
  CHECK(memory.current_bytes() == 0);
  CHECK(memory.peak_bytes() == 1500);
  memory.reset_peak();
  CHECK(memory.peak_bytes() == 0);
  CHECK(memory.allocate(Purpose::kv_cache, 0).data() == nullptr);
}

TEST_CASE("a limit is kept, and the error says what needs how much") {
  Memory memory(10'000'000);
  const Buffer first = memory.allocate(Purpose::gradients, 9'000'000);
  try {
    memory.allocate(Purpose::kv_cache, 1'000'001);
    FAIL("it was allocated");
  } catch (const Error& error) {
    CHECK(error.code == "ERR_GLEANER_MEMORY");
    CHECK(std::string(error.what()) == "kv_cache needs 2 MB, but 9 MB of the 10 MB memory limit are in use");
    CHECK(!error.hint.empty());
  }
  CHECK(memory.current_bytes() == 9'000'000);
  CHECK(memory.allocate(Purpose::kv_cache, 1'000'000).bytes() == 1'000'000);
}

TEST_CASE("what no machine has is an error, not a crash") {
  Memory memory;
  CHECK_THROWS_AS(memory.allocate(Purpose::weights, size_t{1} << 60), Error);
  CHECK(memory.current_bytes() == 0);
}

TEST_CASE("an arena counts what it hands out, aligned, and refuses to hand out more than it has") {
  const auto lay_out = [](Arena& arena) {
    arena.tensor(3, 5);
    const size_t mark = arena.mark();
    arena.tensor(100, 7);
    arena.rewind(mark);
    return arena.tensor(2, 9);
  };
  Arena counting;
  CHECK(!lay_out(counting));
  CHECK(counting.counting());
  CHECK(counting.high_water() == 64 + 2816);
  Memory memory;
  const Buffer buffer = memory.allocate(Purpose::activations, counting.high_water());
  Arena arena(buffer.data(), buffer.bytes());
  const Tensor last = lay_out(arena);
  CHECK(last.f32() == buffer.f32() + 16);
  CHECK(arena.high_water() == counting.high_water());
  CHECK_THROWS_AS(arena.tensor(1000, 1000), Error);
}

TEST_CASE("sizes that no machine has are refused before they wrap around") {
  CHECK(float_bytes(3, 5) == 60);
  CHECK(float_bytes(0, INT64_MAX) == 0);
  CHECK(float_bytes(1, int64_t{1} << 46) == size_t{1} << 48);
  CHECK_THROWS_AS(float_bytes(2, int64_t{1} << 46), Error);
  CHECK_THROWS_AS(float_bytes(int64_t{1} << 32, int64_t{1} << 32), Error);  // 2^64 bytes and more: 0 once wrapped
  CHECK_THROWS_AS(float_bytes(INT64_MAX, INT64_MAX), Error);
  CHECK_THROWS_AS(float_bytes(-1, 5), Error);
  Arena counting;
  CHECK_THROWS_AS(counting.tensor(int64_t{1} << 32, int64_t{1} << 30), Error);
  Memory memory(1000);
  const Buffer held = memory.allocate(Purpose::kv_cache, 64);
  CHECK_THROWS_AS(memory.allocate(Purpose::kv_cache, SIZE_MAX - 10), Error);
}

}  // namespace
}  // namespace gleaner::test
