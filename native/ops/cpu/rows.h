// Copies and sums of whole rows (shapes: ops/ops.h).
#pragma once
#include <cstdint>
#include <span>

#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"

namespace gleaner::cpu {

void gather_rows(ThreadPool& pool, Tensor x, std::span<const int32_t> rows, Tensor y);
/// rows are distinct.
void scatter_add_rows(ThreadPool& pool, Isa isa, Tensor dy, std::span<const int32_t> rows, Tensor dx);
void add(ThreadPool& pool, Isa isa, Tensor x, Tensor y);
void copy(ThreadPool& pool, Tensor x, Tensor y);
void fill(ThreadPool& pool, Tensor x, float value);
/// sums [1, cols] += sum of x's rows, in row order.
void add_column_sums(ThreadPool& pool, Isa isa, Tensor x, Tensor sums);

}  // namespace gleaner::cpu
