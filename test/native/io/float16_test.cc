// Every 16-bit pattern against arithmetic that shares nothing with the code: ldexp on the fields, and a search for the
// nearest value.
#include "io/float16.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <utility>
#include <vector>

namespace gleaner {
namespace {

struct Format {
  int exponent_bits;
  int mantissa_bits;
  float (*widen)(uint16_t);
  uint16_t (*narrow)(float);
};

const Format kFormats[] = {{5, 10, f16_to_f32, f32_to_f16}, {8, 7, bf16_to_f32, f32_to_bf16}};

/// The value of a pattern by the definition of IEEE 754; infinities and NaN included.
double value_of(const Format& format, uint16_t bits) {
  const int mantissa = bits & ((1 << format.mantissa_bits) - 1);
  const int exponent = (bits >> format.mantissa_bits) & ((1 << format.exponent_bits) - 1);
  const int largest = (1 << format.exponent_bits) - 1;
  const int bias = largest / 2;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == largest) return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - format.mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << format.mantissa_bits), exponent - bias - format.mantissa_bits);
}

/// The positive finite values in order, then what the next one would be: infinity is chosen from half the way to it on.
std::vector<double> magnitudes(const Format& format) {
  std::vector<double> values;
  uint16_t bits = 0;
  for (; std::isfinite(value_of(format, bits)); ++bits) values.push_back(value_of(format, bits));
  values.push_back(2 * values.back() - values[values.size() - 2]);
  return values;
}

/// Pattern of the magnitude nearest to a finite value, ties to the even pattern.
uint16_t nearest(const std::vector<double>& values, double magnitude) {
  if (magnitude >= values.back()) return static_cast<uint16_t>(values.size() - 1);
  const auto above = static_cast<size_t>(std::upper_bound(values.begin(), values.end(), magnitude) - values.begin());
  const double down = magnitude - values[above - 1];
  const double up = values[above] - magnitude;
  if (down != up) return static_cast<uint16_t>(down < up ? above - 1 : above);
  return static_cast<uint16_t>((above - 1) % 2 == 0 ? above - 1 : above);
}

TEST_CASE("widening is exact for all 65536 patterns, and narrowing takes each back to itself") {
  for (const Format& format : kFormats) {
    int wrong = 0;
    for (uint32_t pattern = 0; pattern < 65536; ++pattern) {
      const auto bits = static_cast<uint16_t>(pattern);
      const double expected = value_of(format, bits);
      const float found = format.widen(bits);
      const uint16_t back = format.narrow(found);
      if (std::isnan(expected)) {
        const bool same_sign = std::signbit(found) == ((bits & 0x8000) != 0);
        wrong +=
            !std::isnan(found) || !same_sign || !std::isnan(value_of(format, back)) || ((back ^ bits) & 0x8000) != 0;
      } else {
        wrong += found != expected || std::signbit(found) != std::signbit(expected) || back != bits;
      }
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("narrowing rounds to nearest, ties to even") {
  for (const Format& format : kFormats) {
    const std::vector<double> values = magnitudes(format);
    int wrong = 0;
    const auto check = [&](float value) {
      const auto expected = static_cast<uint16_t>(nearest(values, std::fabs(static_cast<double>(value))) |
                                                  (std::signbit(value) ? 0x8000 : 0));
      wrong += format.narrow(value) != expected;
    };
    // Around every value and every midpoint between two: the midpoint itself and its fp32 neighbours on both sides.
    for (size_t i = 0; i + 1 < values.size(); ++i) {
      const auto middle = static_cast<float>((values[i] + values[i + 1]) / 2);
      for (const float value :
           {static_cast<float>(values[i]), middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
        check(value);
        check(-value);
      }
    }
    std::mt19937 random(7);
    for (int i = 0; i < 1000000; ++i) {
      const float value = std::bit_cast<float>(static_cast<uint32_t>(random()));
      if (std::isfinite(value)) check(value);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("the borders of fp16 and bf16") {
  CHECK(f16_to_f32(0x0001) == 0x1p-24f);
  CHECK(f16_to_f32(0x7bff) == 65504.0f);
  CHECK(f32_to_f16(65519.996f) == 0x7bff);
  CHECK(f32_to_f16(65520.0f) == 0x7c00);
  CHECK(f32_to_f16(-std::numeric_limits<float>::infinity()) == 0xfc00);
  CHECK(f32_to_f16(0x1p-25f) == 0x0000);
  CHECK(f32_to_f16(std::nextafter(0x1p-25f, 1.0f)) == 0x0001);
  CHECK(f32_to_f16(-0.0f) == 0x8000);
  CHECK(f32_to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(f32_to_bf16(std::numeric_limits<float>::infinity()) == 0x7f80);
  // A NaN whose payload lies only in the bits that are dropped must not become infinity.
  CHECK(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7f800001u)))));
  CHECK(std::isnan(f16_to_f32(f32_to_f16(std::bit_cast<float>(0xff800001u)))));
}

}  // namespace
}  // namespace gleaner
