// Persistent parts add up; activations and workspace are one block each, as large as the larger user needs.
#include "engine/memory_plan.h"

#include <algorithm>
#include <numeric>

#include "learn/optimizer.h"
#include "model/parameters.h"
#include "sample/sampler.h"

namespace gleaner {

size_t MemoryPlan::total() const { return std::accumulate(bytes.begin(), bytes.end(), size_t{0}); }

size_t micro_batch_bytes(const DecoderSpec& spec, int64_t tokens, ActivationPolicy policy) {
  Arena counting;
  const Activations activations(spec, tokens, tokens, policy, counting);  // every row may be a target's
  return counting.high_water();
}

namespace {
OpsLimits limits_of(const DecoderSpec& spec, int64_t rows, int64_t path_tokens, bool training) {
  const int64_t up = spec.mlp == MlpKind::swiglu ? 2 * spec.intermediate : spec.intermediate;
  return {.rows = rows,
          .cols = std::max({spec.hidden, spec.heads * spec.head_dim, 2 * spec.kv_heads * spec.head_dim, up}),
          .path_tokens = path_tokens,
          .heads = spec.heads,
          .head_dim = spec.head_dim,
          .hidden = spec.hidden,
          .vocab = spec.vocab,
          .training = training};
}
}  // namespace

OpsLimits training_limits(const DecoderSpec& spec, int64_t tokens, int64_t max_length, bool training) {
  return limits_of(spec, tokens, std::min(max_length, tokens), training);
}

OpsLimits generation_limits(const DecoderSpec& spec, const GenerationSizes& sizes) {
  const SamplerSizes sampler = sampler_sizes(sizes.batch_size, sizes.max_length, sizes.prefill_tokens);
  OpsLimits limits = limits_of(spec, sampler.pass_tokens, pages_for(sizes.max_length) * kPageSize, false);
  limits.sampling = true;
  return limits;
}

MemoryPlan plan_memory(const DecoderSpec& spec, const PlanRequest& request, const Ops& ops) {
  MemoryPlan plan;
  const Parameters parameters(spec);
  const auto block = static_cast<size_t>(parameters.block_floats()) * sizeof(float);
  plan.of(Purpose::weights) = block;
  plan.of(Purpose::packed_weights) =
      static_cast<size_t>(parameters.packed_floats(ops, request.training)) * sizeof(float);
  int64_t positions = 0;
  if (request.training) {
    const TrainingSettings& train = request.train;
    plan.of(Purpose::gradients) = block;
    plan.of(Purpose::optimizer) = block * static_cast<size_t>(num_optimizer_states(train.optimizer));
    plan.of(Purpose::activations) = micro_batch_bytes(spec, train.micro_batch_tokens, train.activations);
    plan.of(Purpose::workspace) =
        ops.workspace_bytes(training_limits(spec, train.micro_batch_tokens, train.max_length, true));
    positions = train.max_length;
  }
  if (request.generation) {
    const GenerationSizes& generate = request.generate;
    const SamplerSizes sizes = sampler_sizes(generate.batch_size, generate.max_length, generate.prefill_tokens);
    plan.of(Purpose::activations) = std::max(plan.of(Purpose::activations), Sampler::activation_bytes(spec, sizes));
    plan.of(Purpose::kv_cache) = KvCache::bytes(spec, sizes.num_pages);
    plan.of(Purpose::workspace) =
        std::max(plan.of(Purpose::workspace), ops.workspace_bytes(generation_limits(spec, generate)));
    positions = std::max(positions, generate.max_length);
  }
  plan.of(Purpose::weights) += Decoder::rope_bytes(spec, positions);
  return plan;
}

}  // namespace gleaner
