// CRC-32 as in zlib and PNG (polynomial 0xEDB88320): tells a file whose bytes were changed from one that was written
// whole.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace gleaner {

/// The checksum of what `crc` covers followed by `bytes`; begin with 0.
uint32_t crc32(uint32_t crc, std::span<const std::byte> bytes);

/// Eight lower-case hexadecimal digits.
constexpr size_t kCrc32Digits = 8;
void crc32_digits(uint32_t crc, std::span<std::byte, kCrc32Digits> digits);

}  // namespace gleaner
