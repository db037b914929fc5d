// Optimiser steps against 100 steps of torch 2.13, and the gradient's norm. The constants are what this prints (fp32,
// single-tensor):
//   def gradient(t): return torch.tensor([((t * (7 + i)) % 11 - 5) * 2.0 ** (-3 * i - 3) for i in range(6)])
//   weight = torch.tensor([1.0, -0.5, 0.25, 2.0, 0.0, -1.5], requires_grad=True)
//   torch.optim.AdamW([weight], lr=1e-2, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.1, foreach=False)
//   torch.optim.RMSprop([weight], lr=1e-3, alpha=0.99, eps=1e-8, weight_decay=0.01, foreach=False)
#include "support.h"

namespace gleaner::test {
namespace {

struct Trace {
  int step;
  std::vector<float> weight;
};
const std::vector<Trace> kAdamW = {
    {1, {0.989000082F, -0.509499788F, 0.239751279F, 1.98800826F, 0.00993489102F, -1.489115F}},
    {10, {0.958233297F, -0.52859658F, 0.206475303F, 1.91589999F, 0.0989030376F, -1.44262326F}},
    {100, {0.873430669F, -0.485727906F, 0.185236394F, 1.74540937F, 0.94588083F, -1.31508303F}}};
const std::vector<Trace> kRmsProp = {
    {1, {0.99000001F, -0.50999999F, 0.240000099F, 1.99000001F, 0.00999345072F, -1.49000001F}},
    {10, {0.987467945F, -0.505886495F, 0.22685881F, 1.95065045F, 0.0152580999F, -1.4497025F}},
    {100, {0.986112356F, -0.488525748F, 0.182355911F, 1.80249095F, 0.0152587891F, -1.30225241F}}};

struct State {
  Matrix weight, gradient, first, second;
  State() : weight(1, 6), gradient(1, 6), first(1, 6), second(1, 6) {
    weight.values = {1.0F, -0.5F, 0.25F, 2.0F, 0.0F, -1.5F};
  }
  void set_gradient(int step) {
    for (int i = 0; i < 6; ++i)
      gradient.at(0, i) = static_cast<float>(step * (7 + i) % 11 - 5) * std::ldexp(1.0F, -3 * i - 3);
  }
};

/// grad_scale 1/4 of gradients that are 4 times as large.
void check_trace(const std::vector<Trace>& trace, const std::function<void(State&, int)>& step_of) {
  State state;
  size_t next = 0;
  for (int step = 1; step <= 100; ++step) {
    state.set_gradient(step);
    for (float& value : state.gradient.values) value *= 4;
    step_of(state, step);
    if (trace[next].step != step) continue;
    // A few roundings of values up to 2 over 100 steps.
    CHECK(largest_error(state.weight, std::vector<double>(trace[next].weight.begin(), trace[next].weight.end())) <
          1e-6);
    ++next;
  }
  CHECK(next == trace.size());
}

TEST_CASE("100 steps of AdamW equal torch's") {
  for_each_backend(limits_for(1, 1), [](Backend& backend) {
    check_trace(kAdamW, [&](State& s, int step) {
      backend->adamw_step(s.weight.tensor(), s.gradient.tensor(), s.first.tensor(), s.second.tensor(), 1e-2, 0.9, 0.95,
                          1e-6, 0.1, step, 0.25);
    });
  });
}

TEST_CASE("100 steps of RMSprop equal torch's") {
  for_each_backend(limits_for(1, 1), [](Backend& backend) {
    check_trace(kRmsProp, [&](State& s, int) {
      backend->rmsprop_step(s.weight.tensor(), s.gradient.tensor(), s.first.tensor(), 1e-3, 0.99, 1e-8, 0.01, 0.25);
    });
  });
}

TEST_CASE("a weight of 1 moves at learning rate 5e-7") {
  for_each_backend(limits_for(1, 1), [](Backend& backend) {
    Matrix weight(1, 1, 0, 1), gradient(1, 1, 0, 0.3F), first(1, 1), second(1, 1);
    for (int step = 1; step <= 1000; ++step) {
      backend->adamw_step(weight.tensor(), gradient.tensor(), first.tensor(), second.tensor(), 5e-7, 0.9, 0.999, 1e-8,
                          0, step, 1);
    }
    // Adam of a constant gradient moves by the learning rate, which rounds to 8 spacings of the fp32 numbers below 1.
    CHECK(is_close(1 - weight.at(0, 0), 1000 * 8 * 0x1.0p-24, 0.01));
  });
}

TEST_CASE("steps and sums of large blocks have the same bits on any number of threads") {
  std::mt19937 random(1);
  const Matrix weight = Matrix::random(random, 1, 1'100'003);
  Matrix gradient = Matrix::random(random, 1, 1'100'003);
  check_same_bits_on_any_threads(limits_for(1, 1), [&](Backend& backend) {
    std::vector<Matrix> state{weight, Matrix(1, weight.cols), Matrix(1, weight.cols),
                              weight, Matrix(1, weight.cols), Matrix(1, 2)};
    backend->adamw_step(state[0].tensor(), gradient.tensor(), state[1].tensor(), state[2].tensor(), 1e-3, 0.9, 0.999,
                        1e-8, 0.1, 1, 0.5);
    backend->rmsprop_step(state[3].tensor(), gradient.tensor(), state[4].tensor(), 1e-3, 0.99, 1e-8, 0.1, 0.5);
    const double sum = backend->sum_of_squares(gradient.tensor());
    std::memcpy(state[5].values.data(), &sum, sizeof(sum));
    return state;
  });
}

TEST_CASE("sum_of_squares is fp64's") {
  std::mt19937 random(2);
  for (const int64_t n : {0, 1, 5, 16, 16'384, 16'385, 3'000'001}) {
    CAPTURE(n);
    Matrix x = Matrix::random(random, 1, n, 0, 1e3);
    double wanted = 0;
    for (int64_t i = 0; i < n; ++i) wanted += static_cast<double>(x.at(0, i)) * static_cast<double>(x.at(0, i));
    for_each_backend(limits_for(1, 1), [&](Backend& backend) {
      CHECK(std::abs(backend->sum_of_squares(x.tensor()) - wanted) <= 1e-12 * wanted);
      if (n == 0) return;
      Matrix broken = x;
      broken.at(0, n - 1) = NAN;
      CHECK(std::isnan(backend->sum_of_squares(broken.tensor())));
    });
  }
}

}  // namespace
}  // namespace gleaner::test
