// One optimiser step: micro-batches → logprobs → objective → gradient sums → one denominator → clip → step.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "learn/objective.h"
#include "learn/optimizer.h"
#include "model/decoder.h"

namespace gleaner {

/// A packed forest and what is asked of it. targets lie in the order of the sequences.
struct MicroBatch {
  std::vector<int32_t> ids;  // [tokens]
  Forest forest;
  std::vector<Target> targets;
  std::vector<SequenceSpan> sequences;
  std::vector<PairSpan> pairs;
};

/// Checks ids, targets, sequences and pairs against the model's sizes; throws ERR_GLEANER_INTERNAL naming the value at
/// fault.
void check_micro_batch(const MicroBatch& batch, const DecoderSpec& spec);

struct StepSettings {
  double learning_rate = 0;
  double max_grad_norm = 0;  // 0: no clipping
};

struct StepResult {
  double loss = 0;
  double grad_norm = 0;  // before clipping
  bool skipped = false;  // loss or gradient was not finite; weights and moments are untouched
  int64_t num_tokens = 0;
  int64_t num_targets = 0;
  std::vector<double> sequence_logprobs;  // sums, in the order of micro-batches and sequences
};

/// What a forward pass answers, in the caller's order of targets.
struct ForwardResult {
  std::vector<float> logprobs;  // [targets]
  std::vector<uint8_t> greedy;  // [targets]: the target is the argmax
};

/// Called between micro-batches and layers of work; throws Aborted when the caller wants to end.
using CheckAbort = std::function<void()>;

/// Runs micro-batches of one decoder. Activations come from the arena that the owner hands in for each call.
class Updater {
 public:
  Updater(Decoder& decoder, Parameters& parameters, Ops& ops) : decoder_(decoder), parameters_(parameters), ops_(ops) {}

  /// Forward only.
  ForwardResult score(const MicroBatch& batch, Arena arena, bool want_greedy);
  /// Logits of given rows of the stream, [rows, vocab]; for inspection and tests.
  std::vector<float> logits(const MicroBatch& batch, std::span<const int32_t> rows, Arena arena);
  /// Adds this micro-batch's gradients; returns its part of the loss.
  double accumulate(const MicroBatch& batch, const Objective& objective, ActivationPolicy policy, Arena arena,
                    StepResult& result);
  /// The two halves of accumulate, for an objective that is computed elsewhere: keep the activations in between.
  std::vector<float> forward(const MicroBatch& batch, ActivationPolicy policy, Arena arena);
  void backward(std::span<const float> dlogprobs);
  /// The activations of a forward are gone: their arena is being used for something else.
  void forget_forward() { pending_.reset(); }
  /// Clip and step, unless loss or gradient is not finite; gradients are zero afterwards.
  void finish(Optimizer& optimizer, const StepSettings& settings, StepResult& result);

 private:
  Decoder& decoder_;
  Parameters& parameters_;
  Ops& ops_;
  struct Pending {  // between forward and backward
    MicroBatch batch;
    NeededRows needed;
    std::unique_ptr<Activations> activations;
    std::vector<float> logprobs;  // head order
    std::vector<double> lse;
  };
  std::unique_ptr<Pending> pending_;
};

}  // namespace gleaner
