// SFT: the negative log-likelihood of the responses, a mean over all target tokens of the optimiser step (method.md
// §4).
#include <algorithm>

#include "learn/objective.h"

namespace gleaner {

namespace {
class NllObjective final : public Objective {
 public:
  explicit NllObjective(double denominator) : denominator_(denominator) {}
  bool dlogprobs_known() const override { return true; }
  double compute(const ObjectiveInput& input, std::span<float> dlogprobs) const override {
    std::fill(dlogprobs.begin(), dlogprobs.end(), static_cast<float>(-1 / denominator_));
    double sum = 0;
    for (const SequenceSpan& sequence : input.sequences) sum += sum_logprobs(sequence, input.logprobs);
    return -sum / denominator_;
  }

 private:
  double denominator_;
};
}  // namespace

std::unique_ptr<Objective> make_nll_objective(const ObjectiveSettings& settings) {
  return std::make_unique<NllObjective>(settings.denominator);
}

}  // namespace gleaner
