// Attention of a forest's queries, its backward, and attention over a paged KV cache (fp32; the contract is ops/ops.h).
// A query's bits depend on its path's keys and values only: scores, softmax and p·V run in position order and vector
// lanes go by absolute position, so cuts into segments or pages, other rows and the number of threads change nothing.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "ops/ops.h"
#include "ops/segments.h"

namespace gleaner::cpu {

/// Floats of 64-byte aligned scratch that every call below needs at most, for calls within the limits.
size_t attention_workspace_floats(const OpsLimits& limits, int threads);

/// lse may be empty when no backward follows.
void attention_forward(ThreadPool& pool, Isa isa, const Forest& forest, std::span<const QueryRange> queries,
                       const AttentionShape& shape, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse,
                       float* workspace);

/// Parallel over (tree, kv head); within one, keys in stream order and for each key the queries in stream order.
void attention_backward(ThreadPool& pool, Isa isa, const Forest& forest, std::span<const QueryRange> queries,
                        const AttentionShape& shape, Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse,
                        Tensor dq, Tensor dk, Tensor dv, float* workspace);

void cache_write(ThreadPool& pool, Tensor k, Tensor v, std::span<const int64_t> slots, Tensor cache_k, Tensor cache_v);

void attention_cached(ThreadPool& pool, Isa isa, std::span<const CachedQuery> queries, int64_t page_size,
                      const AttentionShape& shape, Tensor q, Tensor cache_k, Tensor cache_v, Tensor out,
                      float* workspace);

}  // namespace gleaner::cpu
