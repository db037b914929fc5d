// Every objective is a function of log-probabilities: logprobs in, sums and dlogprobs out (design.md §3). Adding one: a
// file in objectives/ and a line in objectives/objectives.cc.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace gleaner {

/// A response: targets [begin, begin + count).
struct SequenceSpan {
  int64_t begin = 0;
  int64_t count = 0;
};

/// Two sequences of one prompt and the reference's log-probabilities of them (sums).
struct PairSpan {
  int32_t real = 0;  // index of a sequence
  int32_t generated = 0;
  double ref_real = 0;
  double ref_generated = 0;
};

struct ObjectiveSettings {
  std::string name;       // sft | pair
  std::string loss;       // pair: logistic | hinge | linear
  double beta = 0;        // pair
  double nll_weight = 0;  // pair: weight of the real responses' mean negative log-likelihood
  /// One denominator a step (method.md §4, pitfalls 5.1): target tokens for sft, pairs for pair losses.
  double denominator = 1;
  /// Target tokens of the step's real responses; divides the nll_weight term.
  double nll_denominator = 1;
};

struct ObjectiveInput {
  std::span<const SequenceSpan> sequences;
  std::span<const PairSpan> pairs;
  std::span<const float> logprobs;  // [targets]
};

class Objective {
 public:
  virtual ~Objective() = default;
  /// dlogprobs do not depend on logprobs, so the head can go forward and backward in one pass.
  virtual bool dlogprobs_known() const { return false; }
  /// Returns this micro-batch's part of the step's loss (a sum already divided by the step's denominator) and
  /// overwrites dlogprobs [targets]. Sums run in fp64, in the order of the rows.
  virtual double compute(const ObjectiveInput& input, std::span<float> dlogprobs) const = 0;
};

/// Throws ERR_GLEANER_INTERNAL for a name that is not in the list.
std::unique_ptr<Objective> make_objective(const ObjectiveSettings& settings);

std::unique_ptr<Objective> make_nll_objective(const ObjectiveSettings& settings);
std::unique_ptr<Objective> make_pair_objective(const ObjectiveSettings& settings);

/// Sum of a sequence's logprobs in fp64.
double sum_logprobs(SequenceSpan sequence, std::span<const float> logprobs);

}  // namespace gleaner
