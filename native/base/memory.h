// Every large block of memory, counted by purpose and held to a limit: what the memory plan says is what is allocated.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/tensor.h"

namespace gleaner {

enum class Purpose : uint8_t { weights, packed_weights, gradients, optimizer, activations, kv_cache, workspace };
constexpr size_t kNumPurposes = 7;
const char* purpose_name(Purpose purpose);

/// Bytes of so many rows of floats. Throws ERR_GLEANER_MEMORY when that is more than any machine has (2^48), so that
/// sums of a few such sizes never wrap.
size_t float_bytes(int64_t rows, int64_t cols);

class Memory;

/// An owned, 64-byte aligned, zeroed block. Given back to its Memory when destroyed.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();
  std::byte* data() const { return data_; }
  float* f32() const { return reinterpret_cast<float*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  friend class Memory;
  Memory* memory_ = nullptr;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  Purpose purpose_ = Purpose::weights;
};

/// Counts what is held now and the most that ever was. limit_bytes 0: no limit.
class Memory {
 public:
  explicit Memory(size_t limit_bytes = 0) : limit_(limit_bytes) {}
  /// Throws ERR_GLEANER_MEMORY, naming purpose and sizes, when the limit or the machine says no.
  Buffer allocate(Purpose purpose, size_t bytes);
  size_t current_bytes() const { return current_; }
  size_t peak_bytes() const { return peak_; }
  void reset_peak() { peak_ = current_; }
  size_t bytes_of(Purpose purpose) const { return by_purpose_[static_cast<size_t>(purpose)]; }

 private:
  friend class Buffer;
  void release(Buffer& buffer);
  size_t limit_;
  size_t current_ = 0;
  size_t peak_ = 0;
  std::array<size_t, kNumPurposes> by_purpose_{};
};

/// Hands out tensors from one block, front to back. Without a block it only counts: the plan and the run share their
/// code.
class Arena {
 public:
  Arena() = default;  // counts
  Arena(std::byte* data, size_t bytes) : data_(data), bytes_(bytes) {}
  Tensor tensor(int64_t rows, int64_t cols);
  size_t mark() const { return used_; }
  void rewind(size_t mark) { used_ = mark; }
  size_t high_water() const { return high_water_; }
  bool counting() const { return data_ == nullptr; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  size_t used_ = 0;
  size_t high_water_ = 0;
};

}  // namespace gleaner
