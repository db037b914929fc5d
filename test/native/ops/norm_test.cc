// Norms against fp64, their gradients against finite differences of the fp64 norms.
#include "support.h"

namespace gleaner::test {
namespace {

struct Reference {
  int64_t rows, cols;
  bool center;  // LayerNorm; else RMSNorm
  double eps;
  std::vector<double> x, weight, bias;

  std::vector<double> forward() const {
    std::vector<double> y(x.size());
    for (int64_t r = 0; r < rows; ++r) {
      const double* in = x.data() + r * cols;
      double mean = 0;
      for (int64_t c = 0; center && c < cols; ++c) mean += in[c] / static_cast<double>(cols);
      double variance = 0;
      for (int64_t c = 0; c < cols; ++c) variance += (in[c] - mean) * (in[c] - mean) / static_cast<double>(cols);
      for (int64_t c = 0; c < cols; ++c) {
        y[static_cast<size_t>(r * cols + c)] =
            (in[c] - mean) / std::sqrt(variance + eps) * weight[static_cast<size_t>(c)] +
            (center ? bias[static_cast<size_t>(c)] : 0);
      }
    }
    return y;
  }
  double loss(const std::vector<double>& dy) const {
    const std::vector<double> y = forward();
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  }
  std::vector<double> gradient(std::vector<double>& of, const std::vector<double>& dy) {
    std::vector<double> result;
    for (double& value : of) result.push_back(slope(value, [&] { return loss(dy); }));
    return result;
  }
};

constexpr float kEps = 1e-5F;
constexpr double kTolerance = 1e-5;  // fp32, sums of up to 130 terms

struct Operands {
  Matrix x, weight, bias, dy, y, mean, rstd, dx, dweight, dbias;
  Operands(int64_t rows, int64_t cols, int64_t gap, uint32_t seed) : Operands(rows, cols, gap, std::mt19937(seed)) {}

 private:
  Operands(int64_t rows, int64_t cols, int64_t gap, std::mt19937 random)
      : x(Matrix::random(random, rows, cols, gap, 2, 0.7)),
        weight(Matrix::random(random, 1, cols, 0, 0.5, 1)),
        bias(Matrix::random(random, 1, cols)),
        dy(Matrix::random(random, rows, cols, gap)),
        y(rows, cols, gap),
        mean(rows, 1),
        rstd(rows, 1),
        dx(rows, cols, gap),
        dweight(Matrix::random(random, 1, cols)),
        dbias(Matrix::random(random, 1, cols)) {}
};

void run(Ops& ops, bool center, Operands& o, bool add) {
  if (center) {
    ops.layer_norm_forward(o.x.tensor(), o.weight.tensor(), o.bias.tensor(), kEps, o.y.tensor(), o.mean.tensor(),
                           o.rstd.tensor());
    ops.layer_norm_backward(o.dy.tensor(), o.x.tensor(), o.weight.tensor(), o.mean.tensor(), o.rstd.tensor(), add,
                            o.dx.tensor(), o.dweight.tensor(), o.dbias.tensor());
  } else {
    ops.rms_norm_forward(o.x.tensor(), o.weight.tensor(), kEps, o.y.tensor(), o.rstd.tensor());
    ops.rms_norm_backward(o.dy.tensor(), o.x.tensor(), o.weight.tensor(), o.rstd.tensor(), add, o.dx.tensor(),
                          o.dweight.tensor());
  }
}

std::vector<double> plus(std::vector<double> a, const std::vector<double>& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

TEST_CASE("norms equal fp64 and their gradients equal finite differences") {
  for (const bool center : {true, false}) {
    for (const int64_t cols : {1, 7, 16, 33, 130}) {
      CAPTURE(center);
      CAPTURE(cols);
      const int64_t rows = cols == 130 ? 3 : 5;
      for_each_backend(limits_for(rows, cols), [&](Backend& backend) {
        for (const bool add : {false, true}) {
          Operands o(rows, cols, 3, static_cast<uint32_t>(cols));
          o.dx = add ? o.y : o.dx;
          for (int64_t r = 0; add && r < rows; ++r) o.dx.at(r, 0) = 2.5F;
          Reference reference{rows,           cols, center, static_cast<double>(kEps), widened(o.x), widened(o.weight),
                              widened(o.bias)};
          const std::vector<double> dy = widened(o.dy);
          const auto dx = plus(reference.gradient(reference.x, dy), widened(o.dx));
          const auto dweight = plus(reference.gradient(reference.weight, dy), widened(o.dweight));
          const auto dbias = center ? plus(reference.gradient(reference.bias, dy), widened(o.dbias)) : widened(o.dbias);
          if (!add) o.dx = Matrix(rows, cols, 3, 99);  // overwritten
          run(*backend, center, o, add);
          CHECK(largest_error(o.y, reference.forward()) < kTolerance);
          // One column: x stands alone, rstd is 1 / sqrt(eps) and blows the rounding of x - mean up.
          CHECK(largest_error(o.dx, dx) < (cols == 1 ? 1e-3 : kTolerance));
          CHECK(largest_error(o.dweight, dweight) < kTolerance);
          CHECK(largest_error(o.dbias, dbias) < kTolerance);
          CHECK(o.y.gaps_intact());
          CHECK(o.dx.gaps_intact());
        }
      });
    }
  }
}

TEST_CASE("norms have the same bits on any number of threads") {
  for (const bool center : {true, false}) {
    check_same_bits_on_any_threads(limits_for(301, 200), [&](Backend& backend) {
      Operands o(301, 200, 0, 5);
      run(*backend, center, o, false);
      return std::vector<Matrix>{o.y, o.dx, o.dweight, o.dbias};
    });
  }
}

TEST_CASE("norms' rows may be split over calls") {
  for (const bool center : {true, false}) {
    for_each_backend(limits_for(40, 33), [&](Backend& backend) {
      Operands whole(40, 33, 0, 6);
      Operands parts = whole;
      run(*backend, center, whole, false);
      const auto part = [&](int64_t begin, int64_t count) {
        const auto rows = [&](Matrix& m) { return m.tensor().slice_rows(begin, count); };
        if (center) {
          backend->layer_norm_forward(rows(parts.x), parts.weight.tensor(), parts.bias.tensor(), kEps, rows(parts.y),
                                      rows(parts.mean), rows(parts.rstd));
          backend->layer_norm_backward(rows(parts.dy), rows(parts.x), parts.weight.tensor(), rows(parts.mean),
                                       rows(parts.rstd), false, rows(parts.dx), parts.dweight.tensor(),
                                       parts.dbias.tensor());
        } else {
          backend->rms_norm_forward(rows(parts.x), parts.weight.tensor(), kEps, rows(parts.y), rows(parts.rstd));
          backend->rms_norm_backward(rows(parts.dy), rows(parts.x), parts.weight.tensor(), rows(parts.rstd), false,
                                     rows(parts.dx), parts.dweight.tensor());
        }
      };
      part(0, 17);
      part(17, 1);
      part(18, 22);
      CHECK(parts.y == whole.y);
      CHECK(parts.dx == whole.dx);
      CHECK(parts.dweight == whole.dweight);
      CHECK(parts.dbias == whole.dbias);
    });
  }
}

}  // namespace
}  // namespace gleaner::test
