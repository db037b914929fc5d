// Values are copied out of the map byte by byte (memcpy): a header of odd length leaves them unaligned.
#include "io/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <limits>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "io/float16.h"

namespace gleaner {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors files are little-endian");

Error model_error(const std::string& path, const std::string& what) {
  return Error("ERR_GLEANER_MODEL", path + ": " + what);
}

std::string last_error() { return std::generic_category().message(errno); }

/// rows · cols · bytes of a value, or an error when that is no size.
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

template <float (*widen)(uint16_t)>
void widen_row(const std::byte* from, float* to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, from + 2 * i, sizeof(bits));
    to[i] = widen(bits);
  }
}

}  // namespace

MappedFile::MappedFile(std::string path) : path_(std::move(path)) {
  descriptor_ =
      ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // without O_NONBLOCK a pipe would wait for a writer
  if (descriptor_ < 0) throw model_error(path_, "cannot be opened: " + last_error());
  struct stat info {};
  if (::fstat(descriptor_, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor_);
    throw model_error(path_, "not a regular file");
  }
  bytes_ = static_cast<uint64_t>(info.st_size);
  if (bytes_ == 0) return;  // nothing to map
  void* map = ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, descriptor_, 0);
  if (map == MAP_FAILED) {
    const std::string why = last_error();
    ::close(descriptor_);
    throw model_error(path_, "cannot be mapped: " + why);
  }
  data_ = static_cast<const std::byte*>(map);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), bytes_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::span<const std::byte> MappedFile::range(uint64_t offset, uint64_t count) const {
  // Reading a map past the end of its file kills the process, so a file that was cut since it was opened is found here.
  struct stat info {};
  const uint64_t now = ::fstat(descriptor_, &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
  const uint64_t available = std::min(bytes_, now);
  if (offset > available || count > available - offset) {
    throw model_error(path_, std::to_string(count) + " bytes at byte " + std::to_string(offset) +
                                 " were expected, the file has " + std::to_string(available));
  }
  if (count == 0) return {};
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = offset / page * page;
  ::madvise(const_cast<std::byte*>(data_) + begin, offset + count - begin,
            MADV_WILLNEED);  // advice: failure is harmless
  return {data_ + offset, count};
}

void read_piece(const MappedFile& file, uint64_t offset, DType dtype, Tensor destination) {
  const int64_t cols = destination.cols;
  const uint64_t bytes = piece_bytes(file.path(), destination.rows, cols, dtype);
  const std::byte* from = file.range(offset, bytes).data();
  if (bytes == 0) return;
  const int64_t row_bytes = cols * dtype_bytes(dtype);
  for (int64_t row = 0; row < destination.rows; ++row, from += row_bytes) {
    float* to = destination.row(row);
    switch (dtype) {
      case DType::f32:
        std::memcpy(to, from, static_cast<size_t>(row_bytes));
        break;
      case DType::f16:
        widen_row<f16_to_f32>(from, to, cols);
        break;
      case DType::bf16:
        widen_row<bf16_to_f32>(from, to, cols);
        break;
    }
  }
}

SafetensorsWriter::SafetensorsWriter(std::string path, std::span<const std::byte> header, uint64_t data_bytes)
    : path_(std::move(path)), missing_bytes_(data_bytes), file_(path_) {
  uint64_t length = 0;
  if (header.size() >= sizeof(length)) std::memcpy(&length, header.data(), sizeof(length));
  if (header.size() < sizeof(length) || length != header.size() - sizeof(length)) {
    throw Error("ERR_GLEANER_INTERNAL",
                path_ + ": a header of " + std::to_string(header.size()) + " bytes says " + std::to_string(length));
  }
  file_.write(header);
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
      file_.write(std::as_bytes(std::span(rows.f32(), static_cast<size_t>(rows.size()))));
    } else {
      for (int64_t row = 0; row < rows.rows; ++row) {
        file_.write(std::as_bytes(std::span(rows.row(row), static_cast<size_t>(rows.cols))));
      }
    }
    return;
  }
  // About 1 MiB at a time, so that narrow rows do not cost a system call each.
  const int64_t chunk_rows = std::clamp<int64_t>((int64_t{1} << 19) / rows.cols, 1, rows.rows);
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
    file_.write(std::as_bytes(std::span(converted_.data(), static_cast<size_t>(count * rows.cols))));
  }
}

void SafetensorsWriter::finish() {
  if (missing_bytes_ != 0) {
    throw Error("ERR_GLEANER_INTERNAL",
                path_ + ": " + std::to_string(missing_bytes_) + " bytes fewer than the header promises");
  }
  file_.commit();
}

}  // namespace gleaner
