// Counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): a value depends only on its key and counter,
// so nothing has to be saved for a resume and no batch changes what another sample draws. Host and device code.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

namespace gleaner {

/// What a random number is for; part of the counter, so two uses never share a stream.
enum class RandomPurpose : uint32_t { init = 1, sample = 2, test = 3 };

inline std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return counter;
}

/// Four words for (seed, purpose, id, position).
inline std::array<uint32_t, 4> random_words(uint64_t seed, RandomPurpose purpose, uint64_t id, uint32_t position) {
  return philox4x32(
      {position, static_cast<uint32_t>(purpose), static_cast<uint32_t>(id), static_cast<uint32_t>(id >> 32)},
      {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

/// Uniform in [0, 1) with 53 bits.
inline double uniform_from(uint32_t high, uint32_t low) {
  return static_cast<double>(((static_cast<uint64_t>(high) << 32) | low) >> 11) * 0x1.0p-53;
}

/// Standard normal by Box–Muller from two words.
inline double normal_from(uint32_t a, uint32_t b) {
  const double u = (static_cast<double>(a) + 1.0) * 0x1.0p-32;  // (0, 1]
  const double v = static_cast<double>(b) * 0x1.0p-32;
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
}

}  // namespace gleaner
