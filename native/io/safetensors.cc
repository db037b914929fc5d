// Read, not mapped: a map of a file that is cut meanwhile, or whose disk fails, kills the process where a read is an
// error.
#include "io/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <limits>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "io/crc32.h"
#include "io/float16.h"

namespace gleaner {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

Error model_error(const std::string& path, const std::string& what) {
  return Error("ERR_GLEANER_MODEL", path + ": " + what);
}

Error missing_bytes(const std::string& path, uint64_t offset, uint64_t count, uint64_t available) {
  return model_error(path, std::to_string(count) + " bytes at byte " + std::to_string(offset) +
                               " were expected, the file has " + std::to_string(available));
}

std::string last_error() { return std::generic_category().message(errno); }

/// About 1 MiB at a time of 16-bit values, so that narrow rows do not cost a system call each.
int64_t rows_at_a_time(Tensor rows) { return std::clamp<int64_t>((int64_t{1} << 19) / rows.cols, 1, rows.rows); }

template <float (*widen)(uint16_t)>
void read_widened(const InputFile& file, uint64_t offset, Tensor destination) {
  const int64_t cols = destination.cols;
  const int64_t chunk_rows = rows_at_a_time(destination);
  std::vector<uint16_t> values(static_cast<size_t>(chunk_rows * cols));
  for (int64_t begin = 0; begin < destination.rows; begin += chunk_rows) {
    const int64_t count = std::min(chunk_rows, destination.rows - begin);
    const auto bytes = std::as_writable_bytes(std::span(values).first(static_cast<size_t>(count * cols)));
    file.read(offset, bytes);
    offset += bytes.size();
    for (int64_t row = 0; row < count; ++row) {
      std::transform(values.data() + row * cols, values.data() + (row + 1) * cols, destination.row(begin + row), widen);
    }
  }
}

void read_floats(const InputFile& file, uint64_t offset, Tensor destination) {
  const bool dense = destination.stride == destination.cols;
  const int64_t rows = dense ? 1 : destination.rows;
  const int64_t cols = dense ? destination.size() : destination.cols;
  for (int64_t row = 0; row < rows; ++row) {
    const auto bytes = std::as_writable_bytes(std::span(destination.row(row), static_cast<size_t>(cols)));
    file.read(offset, bytes);
    offset += bytes.size();
  }
}

}  // namespace

InputFile::InputFile(std::string path) : path_(std::move(path)) {
  if (path_.find('\0') != std::string::npos) {
    throw model_error(path_.substr(0, path_.find('\0')) + "…", "a path cannot hold a zero byte");
  }
  descriptor_ =
      ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // without O_NONBLOCK a pipe would wait for a writer
  if (descriptor_ < 0) throw model_error(path_, "cannot be opened: " + last_error());
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor_);
    throw model_error(path_, "not a regular file");
  }
  bytes_ = static_cast<uint64_t>(info.st_size);
}

InputFile::~InputFile() { ::close(descriptor_); }

void InputFile::need(uint64_t offset, uint64_t count) const {
  if (offset > bytes_ || count > bytes_ - offset) throw missing_bytes(path_, offset, count, bytes_);
}

void InputFile::read(uint64_t offset, std::span<std::byte> to) const {
  need(offset, to.size());
  for (size_t done = 0; done < to.size();) {
    const ssize_t got =
        ::pread(descriptor_, to.data() + done, to.size() - done, static_cast<off_t>(offset) + static_cast<off_t>(done));
    if (got == 0) throw missing_bytes(path_, offset, to.size(), offset + done);
    if (got > 0) {
      done += static_cast<size_t>(got);
    } else if (errno != EINTR) {
      throw model_error(path_, "cannot be read: " + last_error());
    }
  }
}

uint64_t piece_bytes(const std::string& path, int64_t rows, int64_t cols, DType dtype) {
  const auto value_bytes = static_cast<uint64_t>(dtype_bytes(dtype));
  const bool negative = rows < 0 || cols < 0;
  const bool too_large =
      !negative && rows > 0 &&
      static_cast<uint64_t>(cols) > std::numeric_limits<int64_t>::max() / value_bytes / static_cast<uint64_t>(rows);
  if (negative || too_large) {
    throw model_error(path,
                      "a piece of " + std::to_string(rows) + " x " + std::to_string(cols) + " values is not possible");
  }
  return static_cast<uint64_t>(rows) * static_cast<uint64_t>(cols) * value_bytes;
}

uint32_t file_crc32(const InputFile& file, uint64_t digits_at, const std::function<void()>& check_abort) {
  // Small enough to stay in the allocator's own pages: a large block that comes and goes leaves holes between what
  // lives longer.
  constexpr uint64_t kChunk = uint64_t{1} << 16;
  file.need(digits_at, kCrc32Digits);
  std::vector<std::byte> chunk(static_cast<size_t>(std::min(kChunk, file.bytes())));
  uint32_t crc = 0;
  for (uint64_t offset = 0; offset < file.bytes(); offset += chunk.size()) {
    check_abort();
    const auto bytes = std::span(chunk).first(static_cast<size_t>(std::min(kChunk, file.bytes() - offset)));
    file.read(offset, bytes);
    for (uint64_t i = 0; i < kCrc32Digits; ++i) {
      const uint64_t at = digits_at + i;
      if (at >= offset && at - offset < bytes.size()) bytes[static_cast<size_t>(at - offset)] = std::byte{'0'};
    }
    crc = crc32(crc, bytes);
  }
  return crc;
}

void read_piece(const InputFile& file, uint64_t offset, DType dtype, Tensor destination) {
  const uint64_t bytes = piece_bytes(file.path(), destination.rows, destination.cols, dtype);
  file.need(offset, bytes);  // before anything is written
  if (bytes == 0) return;
  switch (dtype) {
    case DType::f32:
      read_floats(file, offset, destination);
      break;
    case DType::f16:
      read_widened<f16_to_f32>(file, offset, destination);
      break;
    case DType::bf16:
      read_widened<bf16_to_f32>(file, offset, destination);
      break;
  }
}

SafetensorsWriter::SafetensorsWriter(std::string path, std::span<const std::byte> header, uint64_t data_bytes,
                                     std::optional<uint64_t> digits_at)
    : path_(std::move(path)), missing_bytes_(data_bytes), digits_at_(digits_at), file_(path_) {
  uint64_t length = 0;
  if (header.size() >= sizeof(length)) std::memcpy(&length, header.data(), sizeof(length));
  if (header.size() < sizeof(length) || length != header.size() - sizeof(length)) {
    throw Error("ERR_GLEANER_INTERNAL",
                path_ + ": a header of " + std::to_string(header.size()) + " bytes says " + std::to_string(length));
  }
  if (digits_at && (header.size() < kCrc32Digits || *digits_at > header.size() - kCrc32Digits)) {
    throw Error("ERR_GLEANER_INTERNAL", path_ + ": the checksum's place is outside the header");
  }
  write(header);
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (digits_at_) crc_ = crc32(crc_, bytes);
  file_.write(bytes);
}

void SafetensorsWriter::write_rows(Tensor rows, DType dtype) {
  const uint64_t bytes = piece_bytes(path_, rows.rows, rows.cols, dtype);
  if (bytes > missing_bytes_) {
    throw Error("ERR_GLEANER_INTERNAL", path_ + ": more rows than the header promises");
  }
  missing_bytes_ -= bytes;
  if (bytes == 0) return;
  if (dtype == DType::f32) {
    if (rows.stride == rows.cols) {
      write(std::as_bytes(std::span(rows.f32(), static_cast<size_t>(rows.size()))));
    } else {
      for (int64_t row = 0; row < rows.rows; ++row) {
        write(std::as_bytes(std::span(rows.row(row), static_cast<size_t>(rows.cols))));
      }
    }
    return;
  }
  const int64_t chunk_rows = rows_at_a_time(rows);
  converted_.resize(static_cast<size_t>(chunk_rows * rows.cols));
  for (int64_t begin = 0; begin < rows.rows; begin += chunk_rows) {
    const int64_t count = std::min(chunk_rows, rows.rows - begin);
    uint16_t* to = converted_.data();
    for (int64_t row = begin; row < begin + count; ++row, to += rows.cols) {
      const float* from = rows.row(row);
      if (dtype == DType::bf16) {
        std::transform(from, from + rows.cols, to, f32_to_bf16);
      } else {
        std::transform(from, from + rows.cols, to, f32_to_f16);
      }
    }
    write(std::as_bytes(std::span(converted_.data(), static_cast<size_t>(count * rows.cols))));
  }
}

void SafetensorsWriter::finish() {
  if (missing_bytes_ != 0) {
    throw Error("ERR_GLEANER_INTERNAL",
                path_ + ": " + std::to_string(missing_bytes_) + " bytes fewer than the header promises");
  }
  if (digits_at_) {
    std::array<std::byte, kCrc32Digits> digits{};
    crc32_digits(crc_, digits);
    file_.write_at(*digits_at_, digits);
  }
  file_.commit();
}

}  // namespace gleaner
