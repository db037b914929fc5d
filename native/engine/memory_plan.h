// Bytes by purpose before the first step. It runs the same layout code as the engine, with arenas that only count.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "base/memory.h"
#include "model/decoder.h"
#include "ops/ops.h"

namespace gleaner {

struct TrainingSettings {
  std::string optimizer = "adamw";
  ActivationPolicy activations = ActivationPolicy::keep;
  int64_t micro_batch_tokens = 0;
  int64_t max_length = 0;  // longest path
};

struct GenerationSizes {
  int64_t batch_size = 0;
  int64_t max_length = 0;
  int64_t prefill_tokens = 0;
};

/// What a run will do; absent parts are 0 in the plan.
struct PlanRequest {
  bool training = false;
  TrainingSettings train;
  bool generation = false;
  GenerationSizes generate;
};

struct MemoryPlan {
  std::array<size_t, kNumPurposes> bytes{};
  size_t of(Purpose purpose) const { return bytes[static_cast<size_t>(purpose)]; }
  size_t& of(Purpose purpose) { return bytes[static_cast<size_t>(purpose)]; }
  size_t total() const;
};

MemoryPlan plan_memory(const DecoderSpec& spec, const PlanRequest& request, const Ops& ops);

/// Bytes of the arena that one micro-batch of at most `tokens` needs.
size_t micro_batch_bytes(const DecoderSpec& spec, int64_t tokens, ActivationPolicy policy);
OpsLimits training_limits(const DecoderSpec& spec, int64_t tokens, int64_t max_length, bool training);
OpsLimits generation_limits(const DecoderSpec& spec, const GenerationSizes& sizes);

}  // namespace gleaner
