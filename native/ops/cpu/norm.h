// LayerNorm and RMSNorm, forward and backward (shapes: ops/ops.h). Parameter gradients are one chain of sums a column,
// in row order, so rows split over several calls give the bits of one call.
#pragma once
#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"

namespace gleaner::cpu {

void layer_norm_forward(ThreadPool& pool, Isa isa, Tensor x, Tensor weight, Tensor bias, float eps, Tensor y,
                        Tensor mean, Tensor rstd);
void layer_norm_backward(ThreadPool& pool, Isa isa, Tensor dy, Tensor x, Tensor weight, Tensor mean, Tensor rstd,
                         bool add, Tensor dx, Tensor dweight, Tensor dbias);
void rms_norm_forward(ThreadPool& pool, Isa isa, Tensor x, Tensor weight, float eps, Tensor y, Tensor rstd);
void rms_norm_backward(ThreadPool& pool, Isa isa, Tensor dy, Tensor x, Tensor weight, Tensor rstd, bool add, Tensor dx,
                       Tensor dweight);

}  // namespace gleaner::cpu
