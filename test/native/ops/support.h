// What the kernels' tests share: matrices with gaps between rows, every backend of this machine, comparison with fp64.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "ops/ops.h"

namespace gleaner::test {

/// A matrix whose rows stand `gap` floats apart; the gaps hold a guard value.
struct Matrix {
  Matrix(int64_t rows, int64_t cols, int64_t gap = 0, float value = 0)
      : rows(rows), cols(cols), stride(cols + gap), values(static_cast<size_t>(rows * (cols + gap)), kGuard) {
    for (int64_t r = 0; r < rows; ++r) std::fill_n(values.data() + r * stride, cols, value);
  }
  static Matrix random(std::mt19937& random, int64_t rows, int64_t cols, int64_t gap = 0, double deviation = 1,
                       double mean = 0) {
    Matrix matrix(rows, cols, gap);
    std::normal_distribution<double> normal(mean, deviation);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < cols; ++c) matrix.at(r, c) = static_cast<float>(normal(random));
    }
    return matrix;
  }
  float& at(int64_t row, int64_t col) { return values.data()[row * stride + col]; }
  float at(int64_t row, int64_t col) const { return values.data()[row * stride + col]; }
  Tensor tensor() { return {values.data(), rows, cols, stride, DType::f32}; }
  bool operator==(const Matrix& other) const {
    return values.size() == other.values.size() &&
           (values.empty() || std::memcmp(values.data(), other.values.data(), values.size() * sizeof(float)) == 0);
  }
  bool gaps_intact() const {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = cols; c < stride; ++c) {
        if (at(r, c) != kGuard) return false;
      }
    }
    return true;
  }

  static constexpr float kGuard = 54321.5F;
  int64_t rows, cols, stride;
  std::vector<float> values;
};

inline std::vector<Isa> present_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    if (has_isa(isa)) isas.push_back(isa);
  }
  return isas;
}

/// A backend with its memory.
class Backend {
 public:
  Backend(Isa isa, int threads, const OpsLimits& limits)
      : ops_(make_ops({.backend = "cpu", .isa = isa_name(isa), .threads = threads})) {
    ops_->reserve_workspace(memory_, limits);
  }
  Ops& operator*() const { return *ops_; }
  Ops* operator->() const { return ops_.get(); }
  /// value [out, in] dense, with both packed copies.
  Weight weight(Matrix& value) {
    Weight weight{.value = value.tensor()};
    weight.packed_forward = allocate(ops_->packed_forward_floats(value.rows, value.cols));
    weight.packed_backward = allocate(ops_->packed_backward_floats(value.rows, value.cols));
    ops_->pack(weight);
    return weight;
  }

 private:
  float* allocate(size_t floats) {
    buffers_.push_back(memory_.allocate(Purpose::packed_weights, floats * sizeof(float)));
    return buffers_.back().f32();
  }
  Memory memory_;
  std::vector<Buffer> buffers_;
  std::unique_ptr<Ops> ops_;
};

inline OpsLimits limits_for(int64_t rows, int64_t cols, int64_t vocab = 1, bool training = true) {
  return {.rows = rows,
          .cols = cols,
          .path_tokens = rows,
          .heads = 1,
          .head_dim = 16,
          .hidden = cols,
          .vocab = vocab,
          .training = training,
          .sampling = !training};
}

/// f(backend) for each instruction set, on 1 and 3 threads.
inline void for_each_backend(const OpsLimits& limits, const std::function<void(Backend&)>& f) {
  for (const Isa isa : present_isas()) {
    for (const int threads : {1, 3}) {
      CAPTURE(std::string(isa_name(isa)));
      CAPTURE(threads);
      Backend backend(isa, threads, limits);
      f(backend);
    }
  }
}

/// What f leaves in its result has the same bits on 1, 2 and 5 threads.
inline void check_same_bits_on_any_threads(const OpsLimits& limits,
                                           const std::function<std::vector<Matrix>(Backend&)>& f) {
  for (const Isa isa : present_isas()) {
    CAPTURE(std::string(isa_name(isa)));
    Backend alone(isa, 1, limits);
    const std::vector<Matrix> expected = f(alone);
    for (const int threads : {2, 5}) {
      Backend backend(isa, threads, limits);
      CHECK(f(backend) == expected);
    }
  }
}

/// Central difference of f in `x`, which is put back.
inline double slope(double& x, const std::function<double()>& f, double step = 1e-5) {
  const double before = x;
  x = before + step;
  const double above = f();
  x = before - step;
  const double below = f();
  x = before;
  return (above - below) / (2 * step);
}

inline std::vector<double> widened(const Matrix& matrix) {
  std::vector<double> values;
  for (int64_t r = 0; r < matrix.rows; ++r) {
    for (int64_t c = 0; c < matrix.cols; ++c) values.push_back(static_cast<double>(matrix.at(r, c)));
  }
  return values;
}

/// Within `relative` of what is wanted, however small that is (doctest's Approx forgives absolute errors below 1).
inline bool is_close(double got, double wanted, double relative) {
  return std::abs(got - wanted) <= relative * std::abs(wanted);
}

/// Largest |got - wanted| / max(1, |wanted|).
inline double largest_error(const Matrix& got, const std::vector<double>& wanted) {
  const std::vector<double> values = widened(got);
  REQUIRE(values.size() == wanted.size());
  double largest = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) return INFINITY;
    largest = std::max(largest, std::abs(values[i] - wanted[i]) / std::max(1.0, std::abs(wanted[i])));
  }
  return largest;
}

}  // namespace gleaner::test
