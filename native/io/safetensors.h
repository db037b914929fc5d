// Tensor bytes of safetensors files: read in, written atomically out. Headers are read and made in
// src/models/safetensors.ts; here arrive offsets, dtypes and sizes, and every one of them is checked against the file
// again.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/tensor.h"
#include "io/atomic_file.h"

namespace gleaner {

/// rows · cols values of `dtype`, row-major, from byte `offset` of `file` on.
struct TensorPiece {
  std::string file;
  uint64_t offset = 0;
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t cols = 0;
};

/// A regular file, open for reading. Throws ERR_GLEANER_MODEL when it cannot be.
class InputFile {
 public:
  explicit InputFile(std::string path);
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  ~InputFile();

  const std::string& path() const { return path_; }
  /// When it was opened.
  uint64_t bytes() const { return bytes_; }
  /// Throws ERR_GLEANER_MODEL when the file did not have these bytes when it was opened.
  void need(uint64_t offset, uint64_t count) const;
  /// Throws as well when the file has been cut since, or the disk does not give them.
  void read(uint64_t offset, std::span<std::byte> to) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  uint64_t bytes_ = 0;
};

/// The bytes of a piece. Throws ERR_GLEANER_MODEL, with the path, when that is no size.
uint64_t piece_bytes(const std::string& path, int64_t rows, int64_t cols, DType dtype);

/// CRC-32 of the whole file, the eight digits at `digits_at` counted as zeros: the file says its own checksum there.
/// check_abort is called every few megabytes.
uint32_t file_crc32(const InputFile& file, uint64_t digits_at, const std::function<void()>& check_abort);

/// Fills `destination` [rows, cols], fp32, any stride, with the values at `offset`. Widening is exact.
void read_piece(const InputFile& file, uint64_t offset, DType dtype, Tensor destination);

/// Writes a safetensors file: the header given, then rows in the order of the calls. The file appears at `path` in
/// finish() or not at all.
class SafetensorsWriter {
 public:
  /// header: the length, the JSON and its padding; data_bytes: what the header promises. Throws ERR_GLEANER_DISK when
  /// it cannot write.
  /// digits_at: a place in the header where "00000000" stands; finish() writes the file's CRC-32 there.
  SafetensorsWriter(std::string path, std::span<const std::byte> header, uint64_t data_bytes,
                    std::optional<uint64_t> digits_at = {});
  /// rows [rows, cols], fp32, any stride; stored as `dtype`, rounded to nearest, ties to even.
  void write_rows(Tensor rows, DType dtype);
  /// Throws ERR_GLEANER_INTERNAL when the rows are not as many bytes as promised.
  void finish();

 private:
  void write(std::span<const std::byte> bytes);

  std::string path_;
  uint64_t missing_bytes_;
  std::vector<uint16_t> converted_;
  std::optional<uint64_t> digits_at_;
  uint32_t crc_ = 0;
  AtomicFile file_;
};

}  // namespace gleaner
