// What CpuOps adds to its kernels: products with bias and residual, packed copies, workspace, checks, and the choice of
// a backend.
#include "base/error.h"
#include "base/memory.h"
#include "support.h"

namespace gleaner::test {
namespace {

std::string code_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.code;
  }
  return "";
}

/// sum over k of a(i, k) b(k, j), in fp64.
template <class A, class B>
std::vector<double> product(int64_t rows, int64_t depth, int64_t cols, A a, B b) {
  std::vector<double> result;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < depth; ++k) sum += static_cast<double>(a(i, k)) * static_cast<double>(b(k, j));
      result.push_back(sum);
    }
  }
  return result;
}

std::vector<double> plus(std::vector<double> a, const Matrix& b) {
  for (size_t i = 0; i < a.size(); ++i)
    a[i] +=
        static_cast<double>(b.at(b.rows == 1 ? 0 : static_cast<int64_t>(i) / b.cols, static_cast<int64_t>(i) % b.cols));
  return a;
}

TEST_CASE("linear maps, forward and backward, equal fp64") {
  struct Shape {
    int64_t rows, in, out;
  };
  for (const auto& [rows, in, out] : {Shape{1, 7, 5}, Shape{9, 33, 70}, Shape{130, 40, 97}, Shape{3, 500, 16}}) {
    CAPTURE(rows);
    std::mt19937 random(static_cast<uint32_t>(rows));
    Matrix x = Matrix::random(random, rows, in, 2);
    Matrix w = Matrix::random(random, out, in);
    Matrix bias = Matrix::random(random, 1, out);
    Matrix residual = Matrix::random(random, rows, out, 3);
    Matrix dy = Matrix::random(random, rows, out, 1);
    const Matrix start_dx = Matrix::random(random, rows, in, 4);
    const Matrix start_dw = Matrix::random(random, out, in);
    const auto y = product(
        rows, in, out, [&](int64_t i, int64_t k) { return x.at(i, k); },
        [&](int64_t k, int64_t j) { return w.at(j, k); });
    const auto dx = product(
        rows, out, in, [&](int64_t i, int64_t k) { return dy.at(i, k); },
        [&](int64_t k, int64_t j) { return w.at(k, j); });
    const auto dw = product(
        out, rows, in, [&](int64_t i, int64_t k) { return dy.at(k, i); },
        [&](int64_t k, int64_t j) { return x.at(k, j); });
    const auto db = product(
        1, rows, out, [](int64_t, int64_t) { return 1.0F; }, [&](int64_t k, int64_t j) { return dy.at(k, j); });
    for_each_backend(limits_for(rows, std::max(in, out)), [&](Backend& backend) {
      constexpr double kTolerance = 3e-5;  // products of up to 500 terms of size 1
      const Weight weight = backend.weight(w);
      Matrix out_y(rows, out, 1);
      backend->linear_forward(x.tensor(), weight, Tensor{}, Tensor{}, out_y.tensor());
      CHECK(largest_error(out_y, y) < kTolerance);
      backend->linear_forward(x.tensor(), weight, bias.tensor(), residual.tensor(), out_y.tensor());
      CHECK(largest_error(out_y, plus(plus(y, bias), residual)) < kTolerance);
      Matrix in_place = residual;
      backend->linear_forward(x.tensor(), weight, bias.tensor(), in_place.tensor(), in_place.tensor());
      CHECK(largest_error(in_place, plus(plus(y, bias), residual)) < kTolerance);
      CHECK(in_place.gaps_intact());
      Matrix out_dx = start_dx;
      backend->linear_backward_input(dy.tensor(), weight, false, out_dx.tensor());
      CHECK(largest_error(out_dx, dx) < kTolerance);
      backend->linear_backward_input(dy.tensor(), weight, true, out_dx.tensor());
      std::vector<double> twice = dx;
      for (double& value : twice) value *= 2;
      CHECK(largest_error(out_dx, twice) < kTolerance);
      Matrix out_dw = start_dw;
      Matrix out_db = bias;
      backend->linear_backward_weight(dy.tensor(), x.tensor(), out_dw.tensor(), out_db.tensor());
      CHECK(largest_error(out_dw, plus(dw, start_dw)) < kTolerance);
      CHECK(largest_error(out_db, plus(db, bias)) < kTolerance);
      Matrix split_dw = start_dw;
      Matrix split_db = bias;
      for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{0, rows / 3}, {rows / 3, rows - rows / 3}}) {
        backend->linear_backward_weight(dy.tensor().slice_rows(begin, count), x.tensor().slice_rows(begin, count),
                                        split_dw.tensor(), split_db.tensor());
      }
      CHECK(split_dw == out_dw);
      CHECK(split_db == out_db);
    });
  }
}

TEST_CASE("products of a row have the same bits alone and in a batch, on any number of threads") {
  std::mt19937 random(1);
  Matrix x = Matrix::random(random, 200, 65);
  Matrix w = Matrix::random(random, 131, 65);
  Matrix dy = Matrix::random(random, 200, 131);
  check_same_bits_on_any_threads(limits_for(200, 131), [&](Backend& backend) {
    const Weight weight = backend.weight(w);
    std::vector<Matrix> results{Matrix(200, 131), Matrix(200, 65), Matrix(131, 65), Matrix(1, 131)};
    backend->linear_forward(x.tensor(), weight, Tensor{}, Tensor{}, results[0].tensor());
    backend->linear_backward_input(dy.tensor(), weight, false, results[1].tensor());
    backend->linear_backward_weight(dy.tensor(), x.tensor(), results[2].tensor(), results[3].tensor());
    for (const int64_t count : {1, 2, 9}) {
      Matrix part(count, 131);
      backend->linear_forward(x.tensor().slice_rows(50, count), weight, Tensor{}, Tensor{}, part.tensor());
      CHECK(std::memcmp(&part.at(0, 0), &results[0].at(50, 0), static_cast<size_t>(count * 131) * sizeof(float)) == 0);
    }
    return results;
  });
}

TEST_CASE("a packed copy follows its weight when packed again, and a product without one is refused") {
  for_each_backend(limits_for(1, 3), [](Backend& backend) {
    Matrix w(2, 3, 0, 1);
    Weight weight = backend.weight(w);
    Matrix x(1, 3, 0, 1);
    Matrix y(1, 2);
    w.at(1, 2) = 5;
    backend->pack(weight);
    backend->linear_forward(x.tensor(), weight, Tensor{}, Tensor{}, y.tensor());
    CHECK(y.values == std::vector<float>{3, 7});
    Weight bare{.value = w.tensor()};
    CHECK(code_of([&] { backend->linear_forward(x.tensor(), bare, Tensor{}, Tensor{}, y.tensor()); }) ==
          "ERR_GLEANER_INTERNAL");
    CHECK(code_of([&] { backend->linear_backward_input(y.tensor(), bare, false, x.tensor()); }) ==
          "ERR_GLEANER_INTERNAL");
  });
}

TEST_CASE("the workspace is what workspace_bytes says, grows, and is missed when too small") {
  for (const Isa isa : present_isas()) {
    Memory memory;  // outlives the workspace
    const auto ops = make_ops({.backend = "cpu", .isa = isa_name(isa), .threads = 2});
    const OpsLimits small = limits_for(8, 16, 100);
    const OpsLimits large = limits_for(3000, 16, 40'000);
    ops->reserve_workspace(memory, small);
    CHECK(memory.bytes_of(Purpose::workspace) == ops->workspace_bytes(small));
    std::mt19937 random(1);
    Matrix x = Matrix::random(random, 3000, 16);
    Matrix w = Matrix::random(random, 40'000, 16);
    Matrix dx(3000, 16), dw(40'000, 16);
    Weight weight{.value = w.tensor()};
    const Buffer forward =
        memory.allocate(Purpose::packed_weights, ops->packed_forward_floats(w.rows, w.cols) * sizeof(float));
    const Buffer backward =
        memory.allocate(Purpose::packed_weights, ops->packed_backward_floats(w.rows, w.cols) * sizeof(float));
    weight.packed_forward = forward.f32();
    weight.packed_backward = backward.f32();
    ops->pack(weight);
    const std::vector<HeadTarget> targets{{2999, 1}};
    const std::vector<float> dlogprobs{1};
    std::vector<float> logprobs(1);
    const auto head = [&] {
      ops->logprob_forward_backward(x.tensor(), weight, targets, dlogprobs, logprobs, dx.tensor(), dw.tensor());
    };
    CHECK(code_of(head) == "ERR_GLEANER_INTERNAL");
    ops->reserve_workspace(memory, large);
    CHECK(memory.bytes_of(Purpose::workspace) == ops->workspace_bytes(large));
    ops->reserve_workspace(memory, small);
    CHECK(memory.bytes_of(Purpose::workspace) == ops->workspace_bytes(large));
    CHECK(code_of(head).empty());
    CHECK(std::isfinite(logprobs[0]));
  }
}

TEST_CASE("shapes that do not fit are refused before a kernel runs") {
  Backend backend(Isa::portable, 1, limits_for(4, 8, 10));
  Matrix a(2, 4), b(2, 5), c(3, 4), wide(2, 8), row(1, 4), w(6, 4);
  const Weight weight = backend.weight(w);
  std::vector<float> logprobs(1), two_logprobs(2);
  std::vector<double> lse(2);
  const std::vector<std::function<void()>> wrong{
      [&] { backend->add(a.tensor(), b.tensor()); },
      [&] { backend->copy(a.tensor(), c.tensor()); },
      [&] { backend->gelu_forward(a.tensor(), c.tensor()); },
      [&] { backend->swiglu_forward(a.tensor(), a.tensor()); },
      [&] { backend->swiglu_backward(b.tensor(), wide.tensor(), wide.tensor()); },
      [&] { backend->linear_forward(a.tensor(), weight, Tensor{}, Tensor{}, b.tensor()); },
      [&] { backend->linear_backward_input(b.tensor(), weight, false, a.tensor()); },
      [&] { backend->linear_backward_weight(b.tensor(), a.tensor(), w.tensor(), Tensor{}); },
      [&] { backend->rms_norm_forward(a.tensor(), row.tensor(), 1e-5F, a.tensor(), row.tensor()); },
      [&] {
        backend->logprob_forward(a.tensor(), weight, std::vector<HeadTarget>{{0, 6}}, logprobs, lse, {});
      },
      [&] {
        backend->logprob_forward(a.tensor(), weight, std::vector<HeadTarget>{{2, 0}}, logprobs, lse, {});
      },
      [&] {
        backend->logprob_forward(a.tensor(), weight, std::vector<HeadTarget>{{0, -1}}, logprobs, lse, {});
      },
      [&] {
        backend->logprob_forward(a.tensor(), weight, std::vector<HeadTarget>{{1, 0}, {0, 0}}, two_logprobs, lse, {});
      },
      [&] {
        backend->cache_write(a.tensor(), a.tensor(), std::vector<int64_t>{0, 3}, c.tensor(), c.tensor());
      },
      [&] { backend->sum_of_squares(a.tensor().slice_cols(0, 2)); },
  };
  for (size_t i = 0; i < wrong.size(); ++i) {
    CAPTURE(i);
    CHECK(code_of(wrong[i]) == "ERR_GLEANER_INTERNAL");
  }
}

TEST_CASE("make_ops takes names and refuses others") {
  CHECK(make_ops({})->name() == isa_name(best_isa()));
  for (const Isa isa : present_isas()) CHECK(make_ops({.isa = isa_name(isa), .threads = 2})->name() == isa_name(isa));
  CHECK(make_ops({.threads = 3})->threads() == 3);
  CHECK(code_of([] { make_ops({.backend = "tpu"}); }) == "ERR_GLEANER_USAGE");
  CHECK(code_of([] { make_ops({.isa = "sse9"}); }) == "ERR_GLEANER_USAGE");
  CHECK(code_of([] { make_ops({.threads = 0}); }) == "ERR_GLEANER_USAGE");
}

}  // namespace
}  // namespace gleaner::test
