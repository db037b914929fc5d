// Log-probabilities of target tokens and their gradient, without a [rows, vocab] matrix (the contract is ops/ops.h).
// The vocabulary is cut into chunks of one fixed size and a row's numbers depend on that row alone. Weight rows: HF's
// lm_head [vocab, hidden].
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"
#include "ops/cpu/gemm.h"
#include "ops/ops.h"

namespace gleaner::cpu {

/// Floats of 64-byte aligned scratch for calls of at most `rows` rows; without `training` for logprob_forward alone.
size_t head_workspace_floats(int64_t rows, int64_t hidden, int64_t vocab, int threads, bool training);

/// forward: the head's weight packed for y = x W^T. lse [rows]; best [rows] or empty.
void logprob_forward(ThreadPool& pool, Isa isa, Tensor x, const PackedMatrix& forward,
                     std::span<const HeadTarget> targets, std::span<float> logprobs, std::span<double> lse,
                     std::span<int32_t> best, float* workspace);

/// backward: the weight packed for dx = dy W. dx is overwritten, dweight (dense) added to, in row order.
void logprob_backward(ThreadPool& pool, Isa isa, Tensor x, const PackedMatrix& forward, const PackedMatrix& backward,
                      std::span<const HeadTarget> targets, std::span<const float> logprobs, std::span<const double> lse,
                      std::span<const float> dlogprobs, Tensor dx, Tensor dweight, float* workspace);

void logprob_forward_backward(ThreadPool& pool, Isa isa, Tensor x, const PackedMatrix& forward,
                              const PackedMatrix& backward, std::span<const HeadTarget> targets,
                              std::span<const float> dlogprobs, std::span<float> logprobs, Tensor dx, Tensor dweight,
                              float* workspace);

}  // namespace gleaner::cpu
