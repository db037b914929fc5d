// Rotary positions in place, half-split pairs (shapes: ops/ops.h).
#pragma once
#include <cstdint>
#include <span>

#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"

namespace gleaner::cpu {

/// `inverse` turns the other way: the rotation's backward.
void rope(ThreadPool& pool, Isa isa, Tensor x, int64_t head_dim, int64_t rotary_dim, std::span<const int32_t> positions,
          Tensor cosine, Tensor sine, bool inverse);

}  // namespace gleaner::cpu
