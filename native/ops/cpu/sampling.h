// Draws one token a row of logits (the contract is ops/ops.h). Kept sets are exact: tokens stand in order of falling
// logit, then rising id; top-k takes the first k, top-p the shortest prefix of those whose renormalised probability
// reaches top_p.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "ops/ops.h"

namespace gleaner::cpu {

size_t sampling_workspace_floats(int64_t vocab, int threads);

/// Rows are independent of each other. Throws ERR_GLEANER_NUMERIC, naming the row, where the largest logit is no finite
/// number.
void sample(ThreadPool& pool, Isa isa, Tensor logits, std::span<const SamplingOptions> options,
            std::span<Sampled> sampled, float* workspace);

}  // namespace gleaner::cpu
