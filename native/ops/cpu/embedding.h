// Rows of a table by token id, and the gradient back to them (shapes: ops/ops.h).
#pragma once
#include <cstdint>
#include <span>

#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"

namespace gleaner::cpu {

void embedding_forward(ThreadPool& pool, std::span<const int32_t> ids, Tensor weight, Tensor y);
/// Adds to dweight, in token order.
void embedding_backward(ThreadPool& pool, Isa isa, std::span<const int32_t> ids, Tensor dy, Tensor dweight);

}  // namespace gleaner::cpu
