// Rotary positions against fp64 angles, and the turn back.
#include "support.h"

namespace gleaner::test {
namespace {

struct Tables {
  Matrix cosine, sine;
  Tables(int64_t positions, int64_t half) : cosine(positions, half), sine(positions, half) {
    for (int64_t p = 0; p < positions; ++p) {
      for (int64_t i = 0; i < half; ++i) {
        cosine.at(p, i) = static_cast<float>(std::cos(angle(p, i, half)));
        sine.at(p, i) = static_cast<float>(std::sin(angle(p, i, half)));
      }
    }
  }
  static double angle(int64_t position, int64_t i, int64_t half) {
    return static_cast<double>(position) * std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
  }
};

TEST_CASE("rope rotates the first values of each head, to position 100000") {
  struct Case {
    int64_t heads, head_dim, rotary_dim;
  };
  for (const auto& [heads, head_dim, rotary_dim] :
       {Case{4, 32, 8}, Case{3, 6, 6}, Case{1, 2, 2}, Case{2, 64, 64}, Case{5, 7, 4}}) {
    CAPTURE(head_dim);
    std::mt19937 random(1);
    const int64_t half = rotary_dim / 2;
    const Matrix x = Matrix::random(random, 5, heads * head_dim, 9);
    const std::vector<int32_t> positions{0, 1, 17, 100000, 3};
    Tables tables(100001, half);
    std::vector<double> wanted = widened(x);
    for (size_t r = 0; r < positions.size(); ++r) {
      for (int64_t h = 0; h < heads; ++h) {
        double* const head = wanted.data() + static_cast<int64_t>(r) * heads * head_dim + h * head_dim;
        for (int64_t i = 0; i < half; ++i) {
          const double angle = Tables::angle(positions[r], i, half);
          const double a = head[i];
          const double b = head[i + half];
          head[i] = a * std::cos(angle) - b * std::sin(angle);
          head[i + half] = b * std::cos(angle) + a * std::sin(angle);
        }
      }
    }
    for_each_backend(limits_for(5, heads * head_dim), [&](Backend& backend) {
      Matrix y = x;
      backend->rope(y.tensor(), head_dim, rotary_dim, positions, tables.cosine.tensor(), tables.sine.tensor(), false);
      CHECK(largest_error(y, wanted) < 1e-6);
      CHECK(y.gaps_intact());
      backend->rope(y.tensor(), head_dim, rotary_dim, positions, tables.cosine.tensor(), tables.sine.tensor(), true);
      CHECK(largest_error(y, widened(x)) < 1e-6);
      CHECK(y.gaps_intact());
    });
  }
}

TEST_CASE("rope has the same bits on any number of threads") {
  std::mt19937 random(2);
  const Matrix x = Matrix::random(random, 333, 96);
  std::vector<int32_t> positions(333);
  for (int32_t i = 0; i < 333; ++i) positions[static_cast<size_t>(i)] = i % 50;
  Tables tables(50, 8);
  check_same_bits_on_any_threads(limits_for(333, 96), [&](Backend& backend) {
    Matrix y = x;
    backend->rope(y.tensor(), 24, 16, positions, tables.cosine.tensor(), tables.sine.tensor(), false);
    return std::vector<Matrix>{y};
  });
}

TEST_CASE("rope without rotary values does nothing, a position outside the tables is refused") {
  Backend backend(Isa::portable, 1, limits_for(1, 8));
  std::mt19937 random(3);
  const Matrix x = Matrix::random(random, 1, 8);
  Matrix y = x;
  backend->rope(y.tensor(), 8, 0, std::vector<int32_t>{0}, Tensor{}, Tensor{}, false);
  CHECK(y == x);
  Tables tables(4, 2);
  CHECK_THROWS(
      backend->rope(y.tensor(), 8, 4, std::vector<int32_t>{4}, tables.cosine.tensor(), tables.sine.tensor(), false));
}

}  // namespace
}  // namespace gleaner::test
