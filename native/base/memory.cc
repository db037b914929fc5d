// Blocks come from anonymous mappings, so that freeing one gives its pages back and an untouched page costs nothing.
#include "base/memory.h"

#include <sys/mman.h>

#include <string>
#include <utility>

#include "base/error.h"

namespace gleaner {

namespace {
constexpr size_t kAlign = 64;
size_t round_up(size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }
std::string megabytes(size_t bytes) { return std::to_string((bytes + 999'999) / 1'000'000) + " MB"; }
}  // namespace

const char* purpose_name(Purpose purpose) {
  switch (purpose) {
    case Purpose::weights:
      return "weights";
    case Purpose::packed_weights:
      return "packed_weights";
    case Purpose::gradients:
      return "gradients";
    case Purpose::optimizer:
      return "optimizer";
    case Purpose::activations:
      return "activations";
    case Purpose::kv_cache:
      return "kv_cache";
    case Purpose::workspace:
      return "workspace";
  }
  return "";
}

size_t float_bytes(int64_t rows, int64_t cols) {
  constexpr int64_t kMost = (int64_t{1} << 48) / static_cast<int64_t>(sizeof(float));
  if (rows < 0 || cols < 0 || (cols > 0 && rows > kMost / cols)) {
    throw Error("ERR_GLEANER_MEMORY",
                "a block of " + std::to_string(rows) + " x " + std::to_string(cols) + " values is not possible",
                "look for a size in config.json or the recipe that cannot be meant");
  }
  return static_cast<size_t>(rows * cols) * sizeof(float);
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this != &other) {
    if (memory_ != nullptr) memory_->release(*this);
    memory_ = std::exchange(other.memory_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    purpose_ = other.purpose_;
  }
  return *this;
}

Buffer::~Buffer() {
  if (memory_ != nullptr) memory_->release(*this);
}

Buffer Memory::allocate(Purpose purpose, size_t bytes) {
  Buffer buffer;
  if (bytes == 0) return buffer;
  if (limit_ != 0 && (bytes > limit_ || current_ > limit_ - bytes)) {
    throw Error("ERR_GLEANER_MEMORY",
                std::string(purpose_name(purpose)) + " needs " + megabytes(bytes) + ", but " + megabytes(current_) +
                    " of the " + megabytes(limit_) + " memory limit are in use",
                "lower train.micro_batch_tokens or generation.batch_size, or set train.activations: recompute");
  }
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    throw Error("ERR_GLEANER_MEMORY", "the machine refused " + megabytes(bytes) + " for " + purpose_name(purpose),
                "use a smaller model, or lower train.micro_batch_tokens");
  }
  buffer.memory_ = this;
  buffer.data_ = static_cast<std::byte*>(data);
  buffer.bytes_ = bytes;
  buffer.purpose_ = purpose;
  current_ += bytes;
  by_purpose_[static_cast<size_t>(purpose)] += bytes;
  if (current_ > peak_) peak_ = current_;
  return buffer;
}

void Memory::release(Buffer& buffer) {
  munmap(buffer.data_, buffer.bytes_);
  current_ -= buffer.bytes_;
  by_purpose_[static_cast<size_t>(buffer.purpose_)] -= buffer.bytes_;
  buffer.memory_ = nullptr;
  buffer.data_ = nullptr;
  buffer.bytes_ = 0;
}

Tensor Arena::tensor(int64_t rows, int64_t cols) {
  const size_t begin = used_;
  used_ += round_up(float_bytes(rows, cols));
  if (used_ > high_water_) high_water_ = used_;
  if (data_ == nullptr) return {nullptr, rows, cols, cols, DType::f32};
  if (used_ > bytes_) {
    throw Error("ERR_GLEANER_INTERNAL",
                "an arena of " + std::to_string(bytes_) + " bytes was asked for " + std::to_string(used_));
  }
  return Tensor::f32(reinterpret_cast<float*>(data_ + begin), rows, cols);
}

}  // namespace gleaner
