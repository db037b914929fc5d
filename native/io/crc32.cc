// Eight bytes at a time by eight tables, so that a checkpoint's checksum costs less than its bytes' way to the disk.
#include "io/crc32.h"

#include <array>
#include <cstring>

namespace gleaner {

namespace {

using Tables = std::array<std::array<uint32_t, 256>, 8>;

/// tables[0][b]: the remainder of byte b; tables[k][b]: of b followed by k zero bytes.
constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
    tables[0][byte] = crc;
  }
  for (size_t k = 1; k < tables.size(); ++k) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}
constexpr Tables kTables = make_tables();

}  // namespace

uint32_t crc32(uint32_t crc, std::span<const std::byte> bytes) {
  crc = ~crc;
  while (bytes.size() >= 8) {
    uint64_t word = 0;  // little-endian, as safetensors.cc asserts of the machine
    std::memcpy(&word, bytes.data(), sizeof(word));
    word ^= crc;
    crc = 0;
    for (size_t i = 0; i < 8; ++i) crc ^= kTables[7 - i][(word >> (8 * i)) & 0xFF];
    bytes = bytes.subspan(8);
  }
  for (const std::byte byte : bytes) crc = (crc >> 8) ^ kTables[0][(crc ^ static_cast<uint32_t>(byte)) & 0xFF];
  return ~crc;
}

void crc32_digits(uint32_t crc, std::span<std::byte, kCrc32Digits> digits) {
  for (size_t i = 0; i < digits.size(); ++i) {
    digits[i] = static_cast<std::byte>("0123456789abcdef"[(crc >> (28 - 4 * i)) & 0xF]);
  }
}

}  // namespace gleaner
