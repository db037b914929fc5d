// The check value of the standard, and any cut of the bytes gives the same.
#include "io/crc32.h"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

namespace gleaner {
namespace {

std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

TEST_CASE("crc32 of known bytes") {
  CHECK(crc32(0, {}) == 0);
  CHECK(crc32(0, as_bytes("123456789")) == 0xCBF43926u);
  CHECK(crc32(0, as_bytes("The quick brown fox jumps over the lazy dog")) == 0x414FA339u);
}

TEST_CASE("crc32 of parts is that of the whole, from any address") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += static_cast<char>(i * 37);
  const uint32_t whole = crc32(0, as_bytes(text));
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    CHECK(crc32(crc32(0, as_bytes(text).first(cut)), as_bytes(text).subspan(cut)) == whole);
  }
}

TEST_CASE("crc32_digits writes all eight") {
  std::array<std::byte, kCrc32Digits> digits{};
  crc32_digits(0x00A1F2C0u, digits);
  CHECK(std::string(reinterpret_cast<const char*>(digits.data()), digits.size()) == "00a1f2c0");
}

}  // namespace
}  // namespace gleaner
