// Objectives on logprobs: values by their formulas in fp64, gradients by finite differences, and margins far outside
// the usual.
#include "learn/objective.h"

#include <doctest/doctest.h>

#include <cmath>
#include <random>

#include "base/error.h"

namespace gleaner::test {
namespace {

/// Three sequences, one of them empty, and three pairs; the first sequence is in two of them.
struct Case {
  std::vector<SequenceSpan> sequences{{0, 3}, {3, 0}, {3, 4}};
  std::vector<PairSpan> pairs{{0, 2, -5, -9}, {0, 1, -6, 0}, {2, 0, -8.5, -4}};
  std::vector<float> logprobs{-1.5F, -0.25F, -3, -2, -0.5F, -4, -1};

  double loss(const Objective& objective, std::vector<float>& dlogprobs) const {
    dlogprobs.assign(logprobs.size(), 99);  // overwritten
    return objective.compute({sequences, pairs, logprobs}, dlogprobs);
  }
};

ObjectiveSettings pair_settings(const std::string& loss, double beta, double nll_weight = 0) {
  return {
      .name = "pair", .loss = loss, .beta = beta, .nll_weight = nll_weight, .denominator = 3, .nll_denominator = 10};
}

TEST_CASE("the gradient is that of the loss: finite differences") {
  for (const char* loss : {"logistic", "hinge", "linear"}) {
    for (const double nll_weight : {0.0, 0.7}) {
      CAPTURE(loss);
      Case c;
      const auto objective = make_objective(pair_settings(loss, 0.3, nll_weight));
      std::vector<float> gradient, ignored;
      c.loss(*objective, gradient);
      for (size_t i = 0; i < c.logprobs.size(); ++i) {
        const float before = c.logprobs[i];
        constexpr float kStep = 1.0F / 1024;  // exact in these logprobs
        c.logprobs[i] = before + kStep;
        const double above = c.loss(*objective, ignored);
        c.logprobs[i] = before - kStep;
        const double below = c.loss(*objective, ignored);
        c.logprobs[i] = before;
        CHECK(std::abs((above - below) / (2 * static_cast<double>(kStep)) - static_cast<double>(gradient[i])) < 1e-6);
      }
    }
  }
}

TEST_CASE("losses are their formulas, divided once") {
  const Case c;
  const double margins[] = {0.3 * ((-4.75 + 5) - (-7.5 + 9)), 0.3 * (-4.75 + 6), 0.3 * ((-7.5 + 8.5) - (-4.75 + 4))};
  double logistic = 0, hinge = 0, linear = 0;
  for (const double margin : margins) {
    logistic += std::log1p(std::exp(-margin)) / 3;
    hinge += std::max(0.0, 1 - margin) / 3;
    linear += -margin / 3;
  }
  std::vector<float> ignored;
  CHECK(c.loss(*make_objective(pair_settings("logistic", 0.3)), ignored) == doctest::Approx(logistic).epsilon(1e-12));
  CHECK(c.loss(*make_objective(pair_settings("hinge", 0.3)), ignored) == doctest::Approx(hinge).epsilon(1e-12));
  CHECK(c.loss(*make_objective(pair_settings("linear", 0.3)), ignored) == doctest::Approx(linear).epsilon(1e-12));
  // The real sides are -4.75, -4.75 and -7.5 long.
  CHECK(c.loss(*make_objective(pair_settings("linear", 0.3, 2)), ignored) ==
        doctest::Approx(linear + 2 * 17.0 / 10).epsilon(1e-12));
}

TEST_CASE("margin 0: ln 2 and slopes of a half") {
  Case c;
  c.pairs = {{0, 2, -4.75, -7.5}};
  std::vector<float> gradient;
  CHECK(c.loss(*make_objective({.name = "pair", .loss = "logistic", .beta = 0.1}), gradient) ==
        doctest::Approx(std::log(2.0)).epsilon(1e-15));
  for (size_t i = 0; i < 7; ++i) CHECK(gradient[i] == (i < 3 ? -0.05F : 0.05F));
}

TEST_CASE("extreme margins: no overflow, and the right limits") {
  for (const double size : {30.0, 700.0, 1e4, 1e300}) {
    CAPTURE(size);
    Case c;
    std::vector<float> gradient;
    const auto objective = make_objective({.name = "pair", .loss = "logistic", .beta = 1});
    c.pairs = {{0, 2, -4.75 - size, -7.5}};  // margin size
    const double won = c.loss(*objective, gradient);
    CHECK(won >= 0);
    CHECK(won == doctest::Approx(std::exp(-size)));
    CHECK(gradient[0] <= 0);
    CHECK(std::abs(gradient[0]) < 1e-12F);
    c.pairs = {{0, 2, -4.75 + size, -7.5}};  // margin -size
    CHECK(c.loss(*objective, gradient) == doctest::Approx(size));
    CHECK(gradient[0] == doctest::Approx(-1));
    CHECK(gradient[6] == doctest::Approx(1));
  }
}

TEST_CASE("a margin of 30 keeps its digits: e^-30, not 0") {
  Case c;
  c.pairs = {{0, 2, -34.75, -7.5}};
  std::vector<float> gradient;
  CHECK(std::abs(c.loss(*make_objective({.name = "pair", .loss = "logistic", .beta = 1}), gradient) / std::exp(-30.0) -
                 1) < 1e-9);
  CHECK(std::abs(static_cast<double>(gradient[0]) / -std::exp(-30.0) - 1) < 1e-6);
}

TEST_CASE("NLL: a mean over the step's targets; its gradients need no logprobs") {
  const Case c;
  const auto objective = make_objective({.name = "sft", .loss = "", .denominator = 20});
  CHECK(objective->dlogprobs_known());
  std::vector<float> gradient;
  CHECK(c.loss(*objective, gradient) == doctest::Approx(12.25 / 20).epsilon(1e-12));
  for (const float value : gradient) CHECK(value == -0.05F);
  CHECK(!make_objective(pair_settings("linear", 1))->dlogprobs_known());
}

TEST_CASE("long sums are fp64's") {
  const std::vector<float> logprobs(1'000'000, -0.1F);
  CHECK(std::abs(sum_logprobs({0, 1'000'000}, logprobs) / (1e6 * static_cast<double>(-0.1F)) - 1) < 1e-12);
}

TEST_CASE("unknown names are refused") {
  CHECK_THROWS_AS(make_objective({.name = "ppo", .loss = ""}), Error);
  CHECK_THROWS_AS(make_objective({.name = "pair", .loss = "cubic"}), Error);
}

}  // namespace
}  // namespace gleaner::test
