// GELU and SwiGLU against fp64 over the whole range of inputs.
#include "support.h"

namespace gleaner::test {
namespace {

double normal_cdf(double x) { return 0.5 * std::erfc(-x * std::sqrt(0.5)); }
double normal_pdf(double x) { return std::exp(-0.5 * x * x) / std::sqrt(2 * 3.14159265358979323846); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

/// From -12 to 12 in steps of 1/512 and the far ends, in rows of 97.
Matrix grid() {
  std::vector<float> values{-3e38F, -1e4F, -100, -89, -88, -87.5F, 0, -0.0F, 1e-30F, 87.5F, 88, 89, 100, 1e4F, 3e38F};
  for (int i = -12 * 512; i <= 12 * 512; ++i) values.push_back(static_cast<float>(i) / 512);
  Matrix matrix(static_cast<int64_t>(values.size() / 97), 97, 2);
  for (int64_t r = 0; r < matrix.rows; ++r) {
    for (int64_t c = 0; c < 97; ++c) matrix.at(r, c) = values[static_cast<size_t>(r * 97 + c)];
  }
  return matrix;
}

template <class F>
std::vector<double> mapped(const Matrix& x, F f) {
  std::vector<double> values = widened(x);
  for (double& value : values) value = f(value);
  return values;
}

TEST_CASE("gelu is exact to 1e-6, so is its derivative") {
  Matrix x = grid();
  Matrix ones(x.rows, x.cols, 2, 1);
  for_each_backend(limits_for(x.rows, x.cols), [&](Backend& backend) {
    Matrix y(x.rows, x.cols, 2);
    backend->gelu_forward(x.tensor(), y.tensor());
    CHECK(largest_error(y, mapped(x, [](double v) { return v * normal_cdf(v); })) < 1e-6);
    CHECK(y.gaps_intact());
    backend->gelu_backward(ones.tensor(), x.tensor(), y.tensor());
    CHECK(largest_error(y, mapped(x, [](double v) {
                          return std::abs(v) > 1e5 ? (v > 0 ? 1.0 : 0.0) : normal_cdf(v) + v * normal_pdf(v);
                        })) < 1e-6);
    CHECK(y.gaps_intact());
  });
}

TEST_CASE("swiglu equals fp64, and its gradient the derivative") {
  const Matrix gate = grid();
  std::mt19937 random(4);
  const Matrix up = Matrix::random(random, gate.rows, gate.cols);
  Matrix dy = Matrix::random(random, gate.rows, gate.cols, 1);
  Matrix gate_up(gate.rows, 2 * gate.cols, 3);
  std::vector<double> y, dgate_up(static_cast<size_t>(gate_up.rows * gate_up.cols));
  for (int64_t r = 0; r < gate.rows; ++r) {
    for (int64_t c = 0; c < gate.cols; ++c) {
      // 3e38 times up overflows fp32; the far ends are for gelu.
      const float g = std::clamp(gate.at(r, c), -1e4F, 1e4F);
      gate_up.at(r, c) = g;
      gate_up.at(r, gate.cols + c) = up.at(r, c);
      const auto [gd, u, d] = std::tuple<double, double, double>(g, up.at(r, c), dy.at(r, c));
      const double s = sigmoid(gd);
      y.push_back(gd * s * u);
      dgate_up[static_cast<size_t>(r * gate_up.cols + c)] = d * u * (s + gd * s * (1 - s));
      dgate_up[static_cast<size_t>(r * gate_up.cols + gate.cols + c)] = d * gd * s;
    }
  }
  for_each_backend(limits_for(gate.rows, 2 * gate.cols), [&](Backend& backend) {
    Matrix out(gate.rows, gate.cols, 1);
    backend->swiglu_forward(gate_up.tensor(), out.tensor());
    CHECK(largest_error(out, y) < 1e-6);
    Matrix dout(gate_up.rows, gate_up.cols, 3);
    backend->swiglu_backward(dy.tensor(), gate_up.tensor(), dout.tensor());
    CHECK(largest_error(dout, dgate_up) < 2e-6);
    CHECK(dout.gaps_intact());
    Matrix in_place = gate_up;
    backend->swiglu_backward(dy.tensor(), in_place.tensor(), in_place.tensor());
    CHECK(in_place == dout);
  });
}

TEST_CASE("activations let NaN through") {
  for_each_backend(limits_for(1, 40), [](Backend& backend) {
    Matrix x(1, 40, 0, NAN);
    Matrix y(1, 40);
    backend->gelu_forward(x.tensor(), y.tensor());
    for (int64_t c = 0; c < 40; ++c) CHECK(std::isnan(y.at(0, c)));
    Matrix half(1, 20);
    backend->swiglu_forward(x.tensor(), half.tensor());
    for (int64_t c = 0; c < 20; ++c) CHECK(std::isnan(half.at(0, c)));
  });
}

TEST_CASE("activations have the same bits on any number of threads and instruction sets") {
  std::mt19937 random(5);
  Matrix x = Matrix::random(random, 211, 130);
  const auto run = [&](Backend& backend) {
    std::vector<Matrix> results{Matrix(211, 130), Matrix(211, 65)};
    backend->gelu_forward(x.tensor(), results[0].tensor());
    backend->swiglu_forward(x.tensor(), results[1].tensor());
    return results;
  };
  check_same_bits_on_any_threads(limits_for(211, 130), run);
  Backend portable(Isa::portable, 1, limits_for(211, 130));
  const std::vector<Matrix> expected = run(portable);
  for_each_backend(limits_for(211, 130), [&](Backend& backend) { CHECK(run(backend) == expected); });
}

}  // namespace
}  // namespace gleaner::test
