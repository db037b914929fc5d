// Kernels return sums; the objective's one denominator is in dlogprobs already, so micro-batches simply add up.
#include "learn/update.h"

#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"

namespace gleaner {

namespace {

/// from[order[i]] ← to[i]: the head's order back into the caller's.
template <class T>
std::vector<T> in_caller_order(const std::vector<T>& values, std::span<const int32_t> order) {
  std::vector<T> result(values.size());
  for (size_t i = 0; i < values.size(); ++i) result[static_cast<size_t>(order[i])] = values[i];
  return result;
}

template <class T>
std::vector<T> in_head_order(std::span<const T> values, std::span<const int32_t> order) {
  std::vector<T> result(values.size());
  for (size_t i = 0; i < values.size(); ++i) result[i] = values[static_cast<size_t>(order[i])];
  return result;
}

Error bad(const std::string& what) { return {"ERR_GLEANER_INTERNAL", "micro-batch: " + what}; }

}  // namespace

void check_micro_batch(const MicroBatch& batch, const DecoderSpec& spec) {
  const auto tokens = static_cast<int64_t>(batch.ids.size());
  const auto num_targets = static_cast<int64_t>(batch.targets.size());
  if (tokens != batch.forest.tokens)
    throw bad("segments cover " + std::to_string(batch.forest.tokens) + " of " + std::to_string(tokens) + " tokens");
  const auto check_id = [&](int32_t id) {
    if (id < 0 || id >= spec.vocab) {
      throw Error(
          "ERR_GLEANER_DATA",
          "token id " + std::to_string(id) + " is outside the model's vocabulary of " + std::to_string(spec.vocab),
          "use the tokenizer that belongs to this model");
    }
  };
  for (const int32_t id : batch.ids) check_id(id);
  if (longest_path(batch.forest) > spec.max_positions) {
    throw Error("ERR_GLEANER_DATA",
                "a sequence of " + std::to_string(longest_path(batch.forest)) + " tokens is longer than the model's " +
                    std::to_string(spec.max_positions) + " positions",
                "lower data.max_length");
  }
  for (const Target& target : batch.targets) {
    check_id(target.token);
    if (target.row < 0 || target.row >= tokens) throw bad("target row " + std::to_string(target.row));
  }
  for (const SequenceSpan& sequence : batch.sequences) {
    if (sequence.begin < 0 || sequence.count < 0 || sequence.begin + sequence.count > num_targets)
      throw bad("a sequence's targets");
  }
  const auto num_sequences = static_cast<int32_t>(batch.sequences.size());
  for (const PairSpan& pair : batch.pairs) {
    if (pair.real < 0 || pair.real >= num_sequences || pair.generated < 0 || pair.generated >= num_sequences)
      throw bad("a pair's sequences");
    if (!std::isfinite(pair.ref_real) || !std::isfinite(pair.ref_generated)) {
      throw Error("ERR_GLEANER_NUMERIC", "a pair's reference log-probability is not finite");
    }
  }
}

ForwardResult Updater::score(const MicroBatch& batch, Arena arena, bool want_greedy) {
  const NeededRows needed = needed_rows(batch.forest, batch.targets);
  ForwardResult result;
  if (needed.targets.empty()) return result;
  Activations activations(decoder_.spec(), batch.forest.tokens, static_cast<int64_t>(needed.rows.size()),
                          ActivationPolicy::none, arena);
  decoder_.forward({batch.ids, &batch.forest, &needed}, activations);
  std::vector<float> logprobs(needed.targets.size());
  std::vector<double> lse(needed.rows.size());
  std::vector<int32_t> best(want_greedy ? needed.rows.size() : 0);
  ops_.logprob_forward(activations.hidden, decoder_.head(), needed.targets, logprobs, lse, best);
  result.logprobs = in_caller_order(logprobs, needed.target_order);
  if (want_greedy) {
    std::vector<uint8_t> greedy(needed.targets.size());
    for (size_t i = 0; i < greedy.size(); ++i) {
      greedy[i] = best[static_cast<size_t>(needed.targets[i].row)] == needed.targets[i].token ? 1 : 0;
    }
    result.greedy = in_caller_order(greedy, needed.target_order);
  }
  return result;
}

std::vector<float> Updater::logits(const MicroBatch& batch, std::span<const int32_t> rows, Arena arena) {
  std::vector<Target> targets;
  for (const int32_t row : rows) targets.push_back({.row = row, .token = 0});
  const NeededRows needed = needed_rows(batch.forest, targets);
  if (targets.empty()) return {};
  Activations activations(decoder_.spec(), batch.forest.tokens, static_cast<int64_t>(needed.rows.size()),
                          ActivationPolicy::none, arena);
  decoder_.forward({batch.ids, &batch.forest, &needed}, activations);
  const auto vocab = static_cast<size_t>(decoder_.spec().vocab);
  std::vector<float> logits(rows.size() * vocab);
  for (size_t i = 0; i < needed.targets.size(); ++i) {
    const Tensor out =
        Tensor::f32(logits.data() + static_cast<size_t>(needed.target_order[i]) * vocab, 1, decoder_.spec().vocab);
    ops_.linear_forward(activations.hidden.slice_rows(needed.targets[i].row, 1), decoder_.head(), {}, {}, out);
  }
  return logits;
}

double Updater::accumulate(const MicroBatch& batch, const Objective& objective, ActivationPolicy policy, Arena arena,
                           StepResult& result) {
  const NeededRows needed = needed_rows(batch.forest, batch.targets);
  result.num_tokens += batch.forest.tokens;
  result.num_targets += static_cast<int64_t>(batch.targets.size());
  std::vector<float> logprobs(needed.targets.size());
  std::vector<float> dlogprobs(needed.targets.size());
  const auto finish = [&](std::span<const float> in_order) {
    for (const SequenceSpan& sequence : batch.sequences)
      result.sequence_logprobs.push_back(sum_logprobs(sequence, in_order));
  };
  if (needed.targets.empty()) {  // nothing is trained here: no gradient, but the sequences are still reported
    finish({});
    return objective.compute({batch.sequences, batch.pairs, {}}, {});
  }
  Activations activations(decoder_.spec(), batch.forest.tokens, static_cast<int64_t>(needed.rows.size()), policy,
                          arena);
  const DecoderBatch decoder_batch{batch.ids, &batch.forest, &needed};
  decoder_.forward(decoder_batch, activations);
  double loss = 0;
  if (objective.dlogprobs_known()) {
    objective.compute({batch.sequences, batch.pairs, logprobs}, dlogprobs);  // of zeros: only dlogprobs count
    ops_.logprob_forward_backward(activations.hidden, decoder_.head(), needed.targets,
                                  in_head_order<float>(dlogprobs, needed.target_order), logprobs, activations.dhidden,
                                  decoder_.head_gradient());
    const std::vector<float> in_order = in_caller_order(logprobs, needed.target_order);
    loss = objective.compute({batch.sequences, batch.pairs, in_order}, dlogprobs);
    finish(in_order);
  } else {
    std::vector<double> lse(needed.rows.size());
    ops_.logprob_forward(activations.hidden, decoder_.head(), needed.targets, logprobs, lse, {});
    const std::vector<float> in_order = in_caller_order(logprobs, needed.target_order);
    loss = objective.compute({batch.sequences, batch.pairs, in_order}, dlogprobs);
    ops_.logprob_backward(activations.hidden, decoder_.head(), needed.targets, logprobs, lse,
                          in_head_order<float>(dlogprobs, needed.target_order), activations.dhidden,
                          decoder_.head_gradient());
    finish(in_order);
  }
  decoder_.backward(decoder_batch, activations);
  return loss;
}

std::vector<float> Updater::forward(const MicroBatch& batch, ActivationPolicy policy, Arena arena) {
  pending_ = std::make_unique<Pending>();
  pending_->batch = batch;
  Pending& pending = *pending_;
  pending.needed = needed_rows(batch.forest, batch.targets);
  if (pending.needed.targets.empty()) return {};
  pending.activations = std::make_unique<Activations>(decoder_.spec(), batch.forest.tokens,
                                                      static_cast<int64_t>(pending.needed.rows.size()), policy, arena);
  decoder_.forward({pending.batch.ids, &pending.batch.forest, &pending.needed}, *pending.activations);
  pending.logprobs.resize(pending.needed.targets.size());
  pending.lse.resize(pending.needed.rows.size());
  ops_.logprob_forward(pending.activations->hidden, decoder_.head(), pending.needed.targets, pending.logprobs,
                       pending.lse, {});
  return in_caller_order(pending.logprobs, pending.needed.target_order);
}

void Updater::backward(std::span<const float> dlogprobs) {
  if (pending_ == nullptr) throw Error("ERR_GLEANER_INTERNAL", "backward was called without a forward before it");
  Pending& pending = *pending_;
  if (dlogprobs.size() != pending.batch.targets.size()) {
    throw Error("ERR_GLEANER_USAGE", "the objective gave " + std::to_string(dlogprobs.size()) + " dlogprobs for " +
                                         std::to_string(pending.batch.targets.size()) + " target tokens");
  }
  if (!pending.needed.targets.empty()) {
    ops_.logprob_backward(pending.activations->hidden, decoder_.head(), pending.needed.targets, pending.logprobs,
                          pending.lse, in_head_order(dlogprobs, pending.needed.target_order),
                          pending.activations->dhidden, decoder_.head_gradient());
    decoder_.backward({pending.batch.ids, &pending.batch.forest, &pending.needed}, *pending.activations);
  }
  pending_.reset();
}

void Updater::finish(Optimizer& optimizer, const StepSettings& settings, StepResult& result) {
  result.grad_norm = std::sqrt(ops_.sum_of_squares(parameters_.gradients()));
  result.skipped = !std::isfinite(result.grad_norm) || !std::isfinite(result.loss);
  if (!result.skipped) {
    // torch.nn.utils.clip_grad_norm_: the norm is nudged by 1e-6 and the scale never exceeds 1.
    const double scale =
        settings.max_grad_norm > 0 ? std::min(1.0, settings.max_grad_norm / (result.grad_norm + 1e-6)) : 1.0;
    optimizer.step(ops_, parameters_.values(), parameters_.gradients(), settings.learning_rate, scale);
    parameters_.repack(ops_);
  }
  ops_.fill(parameters_.gradients(), 0);
}

}  // namespace gleaner
