// GELU and SwiGLU, forward and backward (shapes: ops/ops.h). An output may be its own input.
#pragma once
#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"

namespace gleaner::cpu {

void gelu_forward(ThreadPool& pool, Isa isa, Tensor x, Tensor y);
void gelu_backward(ThreadPool& pool, Isa isa, Tensor dy, Tensor x, Tensor dx);
void swiglu_forward(ThreadPool& pool, Isa isa, Tensor gate_up, Tensor y);
void swiglu_backward(ThreadPool& pool, Isa isa, Tensor dy, Tensor gate_up, Tensor dgate_up);

}  // namespace gleaner::cpu
