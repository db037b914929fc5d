// Rows by id and the sums back: exact, in the order that the contract names.
#include "support.h"

namespace gleaner::test {
namespace {

TEST_CASE("embedding copies rows and adds gradients in token order") {
  std::mt19937 random(1);
  for (const int64_t cols : {1, 15, 64, 200}) {
    CAPTURE(cols);
    Matrix table = Matrix::random(random, 11, cols);
    std::vector<int32_t> ids;
    for (int i = 0; i < 300; ++i) ids.push_back(static_cast<int32_t>(random() % 9));  // ids 9, 10 do not occur
    Matrix dy = Matrix::random(random, 300, cols, 3);
    const Matrix start = Matrix::random(random, 11, cols);
    Matrix wanted = start;
    for (int64_t t = 0; t < 300; ++t) {
      for (int64_t c = 0; c < cols; ++c) wanted.at(ids[static_cast<size_t>(t)], c) += dy.at(t, c);
    }
    for_each_backend(limits_for(300, cols), [&](Backend& backend) {
      Matrix y(300, cols, 2);
      backend->embedding_forward(ids, table.tensor(), y.tensor());
      bool same = y.gaps_intact();
      for (int64_t t = 0; t < 300; ++t) {
        for (int64_t c = 0; c < cols; ++c) same = same && y.at(t, c) == table.at(ids[static_cast<size_t>(t)], c);
      }
      CHECK(same);
      Matrix dweight = start;
      backend->embedding_backward(ids, dy.tensor(), dweight.tensor());
      CHECK(dweight == wanted);
    });
  }
}

TEST_CASE("an id outside the table is refused before memory is touched") {
  Backend backend(Isa::portable, 1, limits_for(2, 4));
  Matrix table(3, 4);
  Matrix y(2, 4);
  for (const int32_t bad : {3, -1}) {
    CHECK_THROWS(backend->embedding_forward(std::vector<int32_t>{0, bad}, table.tensor(), y.tensor()));
    CHECK_THROWS(backend->embedding_backward(std::vector<int32_t>{0, bad}, y.tensor(), table.tensor()));
    CHECK_THROWS(backend->gather_rows(table.tensor(), std::vector<int32_t>{0, bad}, y.tensor()));
  }
}

TEST_CASE("gather and scatter-add are each other's transpose") {
  std::mt19937 random(2);
  Matrix x = Matrix::random(random, 50, 37, 4);
  const std::vector<int32_t> rows{49, 0, 7, 12, 13};
  for_each_backend(limits_for(50, 37), [&](Backend& backend) {
    Matrix y(5, 37, 1);
    backend->gather_rows(x.tensor(), rows, y.tensor());
    Matrix back = x;
    backend->scatter_add_rows(y.tensor(), rows, back.tensor());
    bool right = y.gaps_intact() && back.gaps_intact();
    for (int64_t r = 0; r < 50; ++r) {
      const bool taken = std::find(rows.begin(), rows.end(), r) != rows.end();
      for (int64_t c = 0; c < 37; ++c) right = right && back.at(r, c) == (taken ? 2 : 1) * x.at(r, c);
    }
    CHECK(right);
  });
}

TEST_CASE("add, copy and fill reach every element and no gap, of long rows and of many") {
  std::mt19937 random(3);
  struct Shape {
    int64_t rows, cols, gap;
  };
  for (const auto& [rows, cols, gap] :
       {Shape{1, 100'003, 0}, Shape{700, 50, 0}, Shape{700, 50, 6}, Shape{3, 40'000, 8}, Shape{0, 5, 0}}) {
    Matrix x = Matrix::random(random, rows, cols, gap);
    const Matrix y = Matrix::random(random, rows, cols, gap);
    for_each_backend(limits_for(1, 1), [&](Backend& backend) {
      Matrix sum = y;
      backend->add(x.tensor(), sum.tensor());
      Matrix copied(rows, cols, gap);
      backend->copy(x.tensor(), copied.tensor());
      Matrix filled = y;
      backend->fill(filled.tensor(), 2.5F);
      bool right = sum.gaps_intact();
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) right = right && sum.at(r, c) == x.at(r, c) + y.at(r, c);
      }
      CHECK(right);
      CHECK(copied == x);
      CHECK(filled == Matrix(rows, cols, gap, 2.5F));
    });
  }
}

}  // namespace
}  // namespace gleaner::test
