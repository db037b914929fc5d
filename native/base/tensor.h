// A borrowed view of a matrix: [rows, cols], rows `stride` elements apart. Owners are Buffers and arenas
// (base/memory.h).
#pragma once
#include <cassert>
#include <cstddef>
#include <cstdint>

namespace gleaner {

enum class DType : uint8_t { f32, f16, bf16 };

constexpr int64_t dtype_bytes(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 4;
    case DType::f16:
    case DType::bf16:
      return 2;
  }
  return 0;
}

/// Shapes with more than two dimensions fold the inner ones into cols: [tokens, heads, head_dim] is [tokens, heads *
/// head_dim]. Vectors are [1, n]; per-token scalars are [tokens, 1].
struct Tensor {
  void* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;
  DType dtype = DType::f32;

  static Tensor f32(float* data, int64_t rows, int64_t cols) { return {data, rows, cols, cols, DType::f32}; }

  explicit operator bool() const { return data != nullptr; }
  int64_t size() const { return rows * cols; }
  float* f32() const {
    assert(dtype == DType::f32);
    return static_cast<float*>(data);
  }
  float* row(int64_t index) const { return f32() + index * stride; }
  Tensor slice_rows(int64_t begin, int64_t count) const {
    assert(begin >= 0 && begin + count <= rows);
    return {static_cast<std::byte*>(data) + begin * stride * dtype_bytes(dtype), count, cols, stride, dtype};
  }
  Tensor slice_cols(int64_t begin, int64_t count) const {
    assert(begin >= 0 && begin + count <= cols);
    return {static_cast<std::byte*>(data) + begin * dtype_bytes(dtype), rows, count, stride, dtype};
  }
};

}  // namespace gleaner
