// The log-prob head against fp64 of the same fp32 logits, peaked rows included, and its promises on rows, chunks and
// threads.
#include "support.h"

namespace gleaner::test {
namespace {

struct HeadCase {
  Matrix x, weight;
  std::vector<HeadTarget> targets;
  std::vector<float> dlogprobs;

  HeadCase(int64_t rows, int64_t hidden, int64_t vocab, uint32_t seed, double deviation = 1)
      : HeadCase(rows, hidden, vocab, std::mt19937(seed), deviation) {}
  OpsLimits limits() const { return limits_for(x.rows, x.cols, weight.rows); }

 private:
  /// Of each row none, one, two or three targets, now and then the same token twice.
  HeadCase(int64_t rows, int64_t hidden, int64_t vocab, std::mt19937 random, double deviation)
      : x(Matrix::random(random, rows, hidden, 3)), weight(Matrix::random(random, vocab, hidden, 0, deviation)) {
    std::normal_distribution<float> normal(0, 1);
    for (int64_t r = 0; r < rows; ++r) {
      int32_t token = 0;
      for (uint32_t i = 0; i < random() % 4; ++i) {
        if (i == 0 || random() % 3 != 0) token = static_cast<int32_t>(random() % static_cast<uint32_t>(vocab));
        targets.push_back({static_cast<int32_t>(r), token});
        dlogprobs.push_back(random() % 5 == 0 ? 0 : normal(random));
      }
    }
  }
};

struct HeadResult {
  std::vector<float> logprobs;
  std::vector<double> lse;
  std::vector<int32_t> best;
  Matrix dx, dweight;
};

HeadResult run(Backend& backend, HeadCase& c, const Weight& weight) {
  const auto rows = static_cast<size_t>(c.x.rows);
  HeadResult result{std::vector<float>(c.targets.size()), std::vector<double>(rows), std::vector<int32_t>(rows),
                    Matrix(c.x.rows, c.x.cols, 1, 99), Matrix(c.weight.rows, c.weight.cols, 0, 0.5F)};
  backend->logprob_forward(c.x.tensor(), weight, c.targets, result.logprobs, result.lse, result.best);
  backend->logprob_backward(c.x.tensor(), weight, c.targets, result.logprobs, result.lse, c.dlogprobs,
                            result.dx.tensor(), result.dweight.tensor());
  return result;
}

HeadResult run_at_once(Backend& backend, HeadCase& c, const Weight& weight) {
  HeadResult result{std::vector<float>(c.targets.size()),
                    {},
                    {},
                    Matrix(c.x.rows, c.x.cols, 1, 99),
                    Matrix(c.weight.rows, c.weight.cols, 0, 0.5F)};
  backend->logprob_forward_backward(c.x.tensor(), weight, c.targets, c.dlogprobs, result.logprobs, result.dx.tensor(),
                                    result.dweight.tensor());
  return result;
}

struct Reference {
  std::vector<double> logprobs, lse, dx, dweight;
  std::vector<int32_t> best;
};

/// All in fp64, from the fp32 logits that the backend's own products give.
Reference reference(Backend& backend, HeadCase& c, const Weight& weight) {
  Matrix logits(c.x.rows, c.weight.rows);
  backend->linear_forward(c.x.tensor(), weight, Tensor{}, Tensor{}, logits.tensor());
  const int64_t hidden = c.x.cols;
  const int64_t vocab = c.weight.rows;
  Reference result{.logprobs = {},
                   .lse = {},
                   .dx = std::vector<double>(static_cast<size_t>(c.x.rows * hidden)),
                   .dweight = std::vector<double>(static_cast<size_t>(vocab * hidden), 0.5),
                   .best = {}};
  size_t t = 0;
  for (int64_t r = 0; r < c.x.rows; ++r) {
    const float* row = &logits.at(r, 0);
    const float* largest = std::max_element(row, row + vocab);
    double sum = 0;
    for (int64_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(row[v]) - static_cast<double>(*largest));
    const double lse = static_cast<double>(*largest) + std::log(sum);
    result.lse.push_back(lse);
    result.best.push_back(static_cast<int32_t>(largest - row));
    std::vector<double> dlogits(static_cast<size_t>(vocab));
    for (; t < c.targets.size() && c.targets[t].row == r; ++t) {
      const auto d = static_cast<double>(c.dlogprobs[t]);
      result.logprobs.push_back(static_cast<double>(row[c.targets[t].token]) - lse);
      for (int64_t v = 0; v < vocab; ++v)
        dlogits[static_cast<size_t>(v)] -= d * std::exp(static_cast<double>(row[v]) - lse);
      dlogits[static_cast<size_t>(c.targets[t].token)] += d;
    }
    for (int64_t v = 0; v < vocab; ++v) {
      for (int64_t i = 0; i < hidden; ++i) {
        result.dx[static_cast<size_t>(r * hidden + i)] +=
            dlogits[static_cast<size_t>(v)] * static_cast<double>(c.weight.at(v, i));
        result.dweight[static_cast<size_t>(v * hidden + i)] +=
            dlogits[static_cast<size_t>(v)] * static_cast<double>(c.x.at(r, i));
      }
    }
  }
  return result;
}

double largest_error(const std::vector<float>& got, const std::vector<double>& wanted) {
  Matrix matrix(1, static_cast<int64_t>(got.size()));
  matrix.values = got;
  return test::largest_error(matrix, wanted);
}

TEST_CASE("log-probs and gradients equal fp64 of the same logits") {
  struct Shape {
    int64_t rows, hidden, vocab;
  };
  // One chunk and several, not a multiple of any vector; one row and more than a tile.
  for (const auto& [rows, hidden, vocab] :
       {Shape{5, 7, 37}, Shape{1, 16, 2000}, Shape{13, 33, 4099}, Shape{100, 8, 1921}, Shape{3, 5, 1}}) {
    CAPTURE(rows);
    CAPTURE(vocab);
    HeadCase c(rows, hidden, vocab, static_cast<uint32_t>(vocab));
    for_each_backend(c.limits(), [&](Backend& backend) {
      const Weight weight = backend.weight(c.weight);
      const Reference wanted = reference(backend, c, weight);
      const HeadResult apart = run(backend, c, weight);
      const HeadResult at_once = run_at_once(backend, c, weight);
      CHECK(largest_error(apart.logprobs, wanted.logprobs) < 1e-6);
      CHECK(apart.best == wanted.best);
      for (size_t r = 0; r < wanted.lse.size(); ++r) CHECK(std::abs(apart.lse[r] - wanted.lse[r]) < 1e-6);
      CHECK(at_once.logprobs == apart.logprobs);
      // Sums of a vocabulary of products in fp32.
      CHECK(test::largest_error(apart.dx, wanted.dx) < 1e-5);
      CHECK(test::largest_error(at_once.dx, wanted.dx) < 1e-5);
      CHECK(test::largest_error(apart.dweight, wanted.dweight) < 1e-5);
      CHECK(test::largest_error(at_once.dweight, wanted.dweight) < 1e-5);
      CHECK(apart.dx.gaps_intact());
      CHECK(at_once.dx.gaps_intact());
    });
  }
}

TEST_CASE("the gradient is that of the log-probs: finite differences in fp64") {
  HeadCase c(4, 5, 23, 8);
  std::vector<double> x = widened(c.x);
  std::vector<double> w = widened(c.weight);
  const auto loss = [&] {
    double sum = 0;
    for (size_t t = 0; t < c.targets.size(); ++t) {
      const auto logit = [&](int64_t token) {
        double dot = 0;
        for (int64_t i = 0; i < 5; ++i)
          dot += x[static_cast<size_t>(c.targets[t].row * 5 + i)] * w[static_cast<size_t>(token * 5 + i)];
        return dot;
      };
      double total = 0;
      for (int64_t v = 0; v < 23; ++v) total += std::exp(logit(v));
      sum += static_cast<double>(c.dlogprobs[t]) * (logit(c.targets[t].token) - std::log(total));
    }
    return sum;
  };
  std::vector<double> dx, dweight;
  for (double& value : x) dx.push_back(slope(value, loss));
  for (double& value : w) dweight.push_back(0.5 + slope(value, loss));
  for_each_backend(c.limits(), [&](Backend& backend) {
    const Weight weight = backend.weight(c.weight);
    for (const HeadResult& result : {run(backend, c, weight), run_at_once(backend, c, weight)}) {
      CHECK(test::largest_error(result.dx, dx) < 2e-6);
      CHECK(test::largest_error(result.dweight, dweight) < 2e-6);
    }
  });
}

TEST_CASE("peaked rows keep the digits of log p and of 1 - p") {
  constexpr int64_t kVocab = 5003;
  for (const double p : {0.9, 0.99, 0.999, 1 - 1e-6}) {
    for (const int32_t token : {0, 1919, 1920, 5002}) {
      CAPTURE(p);
      CAPTURE(token);
      std::mt19937 random(9);
      HeadCase c(1, 1, kVocab, 1);
      c.x.at(0, 0) = 1;  // logits are the weights themselves, dweight is dlogits
      c.weight = Matrix::random(random, kVocab, 1, 0, 1, 20);
      double others = 0;
      for (int64_t v = 0; v < kVocab; ++v) others += v == token ? 0 : std::exp(static_cast<double>(c.weight.at(v, 0)));
      c.weight.at(token, 0) = static_cast<float>(std::log(others * p / (1 - p)));
      const double rest =
          others / (others + std::exp(static_cast<double>(c.weight.at(token, 0))));  // 1 - p of the fp32 logits
      c.targets = {{0, token}};
      c.dlogprobs = {-2};
      for_each_backend(c.limits(), [&](Backend& backend) {
        const Weight weight = backend.weight(c.weight);
        const auto check = [&](float logprob, const Matrix& dlogits) {
          CHECK(is_close(logprob, std::log1p(-rest), 1e-5));
          CHECK(is_close(dlogits.at(token, 0), -2 * rest, 1e-5));
          double sum_of_others = 0;
          for (int64_t v = 0; v < kVocab; ++v) sum_of_others += v == token ? 0 : static_cast<double>(dlogits.at(v, 0));
          CHECK(is_close(sum_of_others, 2 * rest, 1e-5));
        };
        std::vector<float> logprobs(1);
        std::vector<double> lse(1);
        Matrix dx(1, 1), apart(kVocab, 1), at_once(kVocab, 1);
        backend->logprob_forward(c.x.tensor(), weight, c.targets, logprobs, lse, {});
        backend->logprob_backward(c.x.tensor(), weight, c.targets, logprobs, lse, c.dlogprobs, dx.tensor(),
                                  apart.tensor());
        check(logprobs[0], apart);
        backend->logprob_forward_backward(c.x.tensor(), weight, c.targets, c.dlogprobs, logprobs, dx.tensor(),
                                          at_once.tensor());
        check(logprobs[0], at_once);
      });
    }
  }
}

TEST_CASE("two targets of a row that pull against each other") {
  constexpr int64_t kVocab = 3000;
  for_each_backend(limits_for(1, 1, kVocab), [&](Backend& backend) {
    Matrix x(1, 1, 0, 1);
    Matrix w(kVocab, 1, 0, 0);
    w.at(7, 0) = 25;  // p(7) is 1 - 4e-8
    const Weight weight = backend.weight(w);
    const auto dlogits = [&](std::vector<HeadTarget> targets, std::vector<float> dlogprobs) {
      std::vector<float> logprobs(targets.size());
      Matrix dx(1, 1), dweight(kVocab, 1);
      backend->logprob_forward_backward(x.tensor(), weight, targets, dlogprobs, logprobs, dx.tensor(),
                                        dweight.tensor());
      return dweight;
    };
    const double rest = 2999 / (2999 + std::exp(25.0));
    // Opposite weights: softmax cancels, what is left is one-hot.
    const Matrix opposite = dlogits({{0, 7}, {0, 2999}}, {1, -1});
    CHECK(opposite.at(7, 0) == 1);
    CHECK(opposite.at(2999, 0) == -1);
    CHECK(opposite.at(8, 0) == 0);
    const Matrix same_token = dlogits({{0, 7}, {0, 7}}, {1, -1});
    CHECK(same_token == Matrix(kVocab, 1));
    const Matrix twice = dlogits({{0, 7}, {0, 7}}, {1, 2});
    CHECK(is_close(twice.at(7, 0), 3 * rest, 1e-5));
    const Matrix unequal = dlogits({{0, 7}, {0, 2999}}, {1, -0.25F});
    CHECK(is_close(unequal.at(7, 0), rest + 0.25 * (1 - rest), 1e-6));
    CHECK(is_close(unequal.at(2999, 0), -0.25, 1e-6));
  });
}

TEST_CASE("rows without targets and targets without weight leave exact zeros") {
  HeadCase c(60, 9, 2500, 3);
  for (size_t t = 0; t < c.targets.size(); ++t) {
    if (c.targets[t].row % 3 == 0) c.dlogprobs[t] = 0;
  }
  std::vector<bool> pulled(60, false);
  for (size_t t = 0; t < c.targets.size(); ++t) {
    if (c.dlogprobs[t] != 0) pulled[static_cast<size_t>(c.targets[t].row)] = true;
  }
  REQUIRE(std::count(pulled.begin(), pulled.end(), true) > 10);
  for_each_backend(c.limits(), [&](Backend& backend) {
    const Weight weight = backend.weight(c.weight);
    for (const HeadResult& result : {run(backend, c, weight), run_at_once(backend, c, weight)}) {
      for (int64_t r = 0; r < 60; ++r) {
        bool zero = true;
        for (int64_t i = 0; i < 9; ++i) zero = zero && result.dx.at(r, i) == 0;
        CHECK(zero == !pulled[static_cast<size_t>(r)]);
      }
    }
    HeadCase none = c;
    std::fill(none.dlogprobs.begin(), none.dlogprobs.end(), 0.0F);
    for (const HeadResult& result : {run(backend, none, weight), run_at_once(backend, none, weight)}) {
      CHECK(result.dweight == Matrix(2500, 9, 0, 0.5F));
    }
  });
}

/// c's rows [begin, end).
HeadCase part_of(const HeadCase& c, int64_t begin, int64_t end) {
  HeadCase part = c;
  part.x = Matrix(end - begin, c.x.cols, 3);
  for (int64_t r = begin; r < end; ++r)
    std::copy_n(&c.x.values[static_cast<size_t>(r * c.x.stride)], c.x.cols, &part.x.at(r - begin, 0));
  part.targets.clear();
  part.dlogprobs.clear();
  for (size_t t = 0; t < c.targets.size(); ++t) {
    if (c.targets[t].row < begin || c.targets[t].row >= end) continue;
    part.targets.push_back({static_cast<int32_t>(c.targets[t].row - begin), c.targets[t].token});
    part.dlogprobs.push_back(c.dlogprobs[t]);
  }
  return part;
}

TEST_CASE("a row's bits do not depend on the other rows; dweight's not on how rows are split over calls") {
  struct Shape {
    int64_t rows, hidden, vocab;
  };
  // The second has more rows than one block, the third more than are kept at once.
  for (const auto& [rows, hidden, vocab] : {Shape{130, 17, 2100}, Shape{2100, 3, 50}, Shape{300, 2, 50304}}) {
    CAPTURE(rows);
    HeadCase c(rows, hidden, vocab, 4);
    for (const Isa isa : present_isas()) {
      CAPTURE(std::string(isa_name(isa)));
      Backend backend(isa, 1, c.limits());
      const Weight weight = backend.weight(c.weight);
      using Run = HeadResult (*)(Backend&, HeadCase&, const Weight&);
      for (const Run function : {Run{run}, Run{run_at_once}}) {
        const HeadResult whole = function(backend, c, weight);
        Matrix dweight(vocab, hidden, 0, 0.5F);
        size_t target = 0;
        for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, 1}, {1, 4}, {4, 101}, {101, rows}}) {
          HeadCase part = part_of(c, begin, end);
          HeadResult result = function(backend, part, weight);
          for (size_t t = 0; t < part.targets.size(); ++t) CHECK(result.logprobs[t] == whole.logprobs[target++]);
          CHECK(std::equal(result.lse.begin(), result.lse.end(), whole.lse.begin() + (whole.lse.empty() ? 0 : begin)));
          bool same = true;
          for (int64_t r = begin; r < end; ++r) {
            for (int64_t i = 0; i < hidden; ++i) same = same && result.dx.at(r - begin, i) == whole.dx.at(r, i);
          }
          CHECK(same);
          if (function == Run{run_at_once}) {
            backend->logprob_forward_backward(part.x.tensor(), weight, part.targets, part.dlogprobs, result.logprobs,
                                              result.dx.tensor(), dweight.tensor());
          } else {
            backend->logprob_backward(part.x.tensor(), weight, part.targets, result.logprobs, result.lse,
                                      part.dlogprobs, result.dx.tensor(), dweight.tensor());
          }
        }
        CHECK(dweight == whole.dweight);
      }
    }
  }
}

TEST_CASE("the head has the same bits on any number of threads") {
  HeadCase c(250, 24, 6001, 5);
  check_same_bits_on_any_threads(c.limits(), [&](Backend& backend) {
    const Weight weight = backend.weight(c.weight);
    const HeadResult apart = run(backend, c, weight);
    const HeadResult at_once = run_at_once(backend, c, weight);
    Matrix logprobs(1, static_cast<int64_t>(apart.logprobs.size()));
    logprobs.values = apart.logprobs;
    return std::vector<Matrix>{logprobs, apart.dx, apart.dweight, at_once.dx, at_once.dweight};
  });
}

TEST_CASE("of equal logits the lowest id is best, in one chunk and across them") {
  for_each_backend(limits_for(1, 1, 6000), [](Backend& backend) {
    Matrix x(1, 1, 0, 1);
    for (const auto& [first, second] : {std::pair<int64_t, int64_t>{100, 200}, {1919, 1920}, {5, 5999}}) {
      Matrix w(6000, 1, 0, -3);
      w.at(first, 0) = w.at(second, 0) = 2;
      const Weight weight = backend.weight(w);
      std::vector<double> lse(1);
      std::vector<int32_t> best(1);
      backend->logprob_forward(x.tensor(), weight, {}, {}, lse, best);
      CHECK(best[0] == first);
    }
  });
}

TEST_CASE("a NaN logit makes its row's log-prob NaN and no other's") {
  for_each_backend(limits_for(2, 2, 4000), [](Backend& backend) {
    Matrix x(2, 2, 0, 1);
    x.at(0, 1) = 0;
    x.at(1, 0) = 0;
    Matrix w(4000, 2, 0, 0.25F);
    const Weight weight = backend.weight(w);
    x.at(1, 1) = NAN;
    std::vector<double> lse(2);
    std::vector<float> logprobs(2);
    backend->logprob_forward(x.tensor(), weight, std::vector<HeadTarget>{{0, 3}, {1, 3}}, logprobs, lse, {});
    CHECK(is_close(logprobs[0], -std::log(4000.0), 1e-6));
    CHECK(std::isnan(logprobs[1]));
  });
}

}  // namespace
}  // namespace gleaner::test
