// Known-answer vectors of Random123 (kat_vectors, philox4x32 10), and what is made of the words.
#include "base/philox.h"

#include <doctest/doctest.h>

namespace gleaner::test {
namespace {

using Words = std::array<uint32_t, 4>;

TEST_CASE("philox4x32-10 gives Random123's known answers") {
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr uint32_t kOnes = 0xffffffff;
  CHECK(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}) ==
        Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("seed, purpose, id and position each give other words, all their bits counted") {
  const Words words = random_words(1, RandomPurpose::sample, 2, 3);
  CHECK(words == philox4x32({3, 2, 2, 0}, {1, 0}));
  CHECK(words != random_words(1 + (uint64_t{1} << 40), RandomPurpose::sample, 2, 3));
  CHECK(words != random_words(1, RandomPurpose::init, 2, 3));
  CHECK(words != random_words(1, RandomPurpose::sample, 2 + (uint64_t{1} << 40), 3));
  CHECK(words != random_words(1, RandomPurpose::sample, 2, 4));
}

TEST_CASE("uniform numbers lie in [0, 1)") {
  CHECK(uniform_from(0, 0) == 0);
  CHECK(uniform_from(0xffffffff, 0xffffffff) < 1);
  CHECK(uniform_from(0xffffffff, 0xffffffff) == 1 - std::ldexp(1.0, -53));
  CHECK(uniform_from(0x80000000, 0) == 0.5);
}

TEST_CASE("normal numbers: moments, and no infinity at the ends of a word") {
  constexpr int kCount = 200'000;
  double sum = 0, squares = 0, cubes = 0;
  for (uint32_t i = 0; i < kCount; ++i) {
    const Words words = random_words(7, RandomPurpose::test, i, 0);
    const double x = normal_from(words[0], words[1]);
    sum += x;
    squares += x * x;
    cubes += x * x * x;
  }
  // Standard errors: 1, √2 and √15 over √count; four of them.
  const double unit = 4 / std::sqrt(static_cast<double>(kCount));
  CHECK(std::abs(sum / kCount) < unit);
  CHECK(std::abs(squares / kCount - 1) < 1.5 * unit);
  CHECK(std::abs(cubes / kCount) < 4 * unit);
  for (const uint32_t a : {0U, 0xffffffffU}) {
    for (const uint32_t b : {0U, 0xffffffffU}) CHECK(std::isfinite(normal_from(a, b)));
  }
}

}  // namespace
}  // namespace gleaner::test
