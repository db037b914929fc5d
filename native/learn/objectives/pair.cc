// SPIN, IRFT and DPO: m = β((log π(y) − ref(y)) − (log π(ỹ) − ref(ỹ))), each a sum over the response's tokens.
// Logistic −log σ(m), hinge max(0, 1 − m), linear −m. Source: arXiv 2405.17888, Algorithm 2; method.md §3.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "learn/objective.h"

namespace gleaner {

namespace {

enum class PairLoss : uint8_t { logistic, hinge, linear };

struct LossAndSlope {
  double loss;
  double slope;  // d loss / d margin
};

LossAndSlope pair_loss(PairLoss loss, double margin) {
  switch (loss) {
    case PairLoss::logistic: {
      // exp only of a negative number, so that no margin overflows.
      const double e = std::exp(-std::abs(margin));
      return {std::log1p(e) + std::max(-margin, 0.0), -(margin >= 0 ? e : 1) / (1 + e)};
    }
    case PairLoss::hinge:
      return margin < 1 ? LossAndSlope{1 - margin, -1} : LossAndSlope{0, 0};
    case PairLoss::linear:
      return {-margin, -1};
  }
  return {};
}

class PairObjective final : public Objective {
 public:
  PairObjective(PairLoss loss, const ObjectiveSettings& settings) : loss_(loss), settings_(settings) {}

  double compute(const ObjectiveInput& input, std::span<float> dlogprobs) const override {
    std::fill(dlogprobs.begin(), dlogprobs.end(), 0.0F);
    double sum = 0;
    for (const PairSpan& pair : input.pairs) {
      const SequenceSpan real = input.sequences[static_cast<size_t>(pair.real)];
      const SequenceSpan generated = input.sequences[static_cast<size_t>(pair.generated)];
      const double real_logprob = sum_logprobs(real, input.logprobs);
      const double margin = settings_.beta * ((real_logprob - pair.ref_real) -
                                              (sum_logprobs(generated, input.logprobs) - pair.ref_generated));
      const auto [loss, slope] = pair_loss(loss_, margin);
      // Adding keeps the gradient right when a sequence takes part in several pairs.
      const double gradient = settings_.beta * slope / settings_.denominator;
      const double nll = settings_.nll_weight / settings_.nll_denominator;
      add(dlogprobs, real, gradient - nll);
      add(dlogprobs, generated, -gradient);
      sum += loss / settings_.denominator - nll * real_logprob;
    }
    return sum;
  }

 private:
  static void add(std::span<float> dlogprobs, SequenceSpan sequence, double value) {
    for (int64_t i = 0; i < sequence.count; ++i)
      dlogprobs[static_cast<size_t>(sequence.begin + i)] += static_cast<float>(value);
  }
  PairLoss loss_;
  ObjectiveSettings settings_;
};

}  // namespace

std::unique_ptr<Objective> make_pair_objective(const ObjectiveSettings& settings) {
  if (settings.loss == "logistic") return std::make_unique<PairObjective>(PairLoss::logistic, settings);
  if (settings.loss == "hinge") return std::make_unique<PairObjective>(PairLoss::hinge, settings);
  if (settings.loss == "linear") return std::make_unique<PairObjective>(PairLoss::linear, settings);
  throw Error("ERR_GLEANER_INTERNAL", "there is no pair loss named " + settings.loss);
}

}  // namespace gleaner
