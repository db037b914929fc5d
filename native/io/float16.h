// The two 16-bit floats of model files, to and from fp32, in integer arithmetic: no rounding or denormal mode of the
// CPU has a say.
#pragma once
#include <bit>
#include <cstdint>

namespace gleaner {

/// Exact. NaN keeps sign and payload.
constexpr float bf16_to_f32(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

/// To nearest, ties to even; beyond the largest finite value: infinity. NaN stays NaN.
constexpr uint16_t f32_to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x0040u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// Exact. NaN keeps sign and payload.
constexpr float f16_to_f32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
  if (mantissa == 0) return std::bit_cast<float>(sign);
  // Subnormal: mantissa · 2^-24. Its highest bit becomes the implicit one.
  const auto top = static_cast<uint32_t>(31 - std::countl_zero(mantissa));
  return std::bit_cast<float>(sign | ((top + 103) << 23) | ((mantissa << (23 - top)) & 0x7fffffu));
}

/// To nearest, ties to even; from 65520 on: infinity. NaN stays NaN.
constexpr uint16_t f32_to_f16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x47800000u) return sign | 0x7c00u;  // 2^16 and above
  if (magnitude >= 0x38800000u) {                       // 2^-14 and above: normal; a carry may step up to infinity
    const uint32_t rebased = magnitude - (112u << 23);
    return static_cast<uint16_t>(sign | ((rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13));
  }
  if (magnitude < 0x33000000u) return sign;        // below 2^-25: zero
  const uint32_t shift = 126 - (magnitude >> 23);  // 14 … 24: down to units of 2^-24
  const uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  const uint32_t half = 1u << (shift - 1);
  return static_cast<uint16_t>(sign | ((mantissa + (half - 1) + ((mantissa >> shift) & 1u)) >> shift));
}

}  // namespace gleaner
