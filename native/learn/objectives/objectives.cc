// The list of objectives.
#include "base/error.h"
#include "learn/objective.h"

namespace gleaner {

std::unique_ptr<Objective> make_objective(const ObjectiveSettings& settings) {
  if (settings.name == "sft") return make_nll_objective(settings);
  if (settings.name == "pair") return make_pair_objective(settings);
  throw Error("ERR_GLEANER_INTERNAL", "there is no objective named " + settings.name);
}

double sum_logprobs(SequenceSpan sequence, std::span<const float> logprobs) {
  double sum = 0;
  for (int64_t i = 0; i < sequence.count; ++i) sum += logprobs[static_cast<size_t>(sequence.begin + i)];
  return sum;
}

}  // namespace gleaner
