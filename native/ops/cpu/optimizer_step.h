// Optimiser steps in torch's forms over dense blocks of parameters, and the gradient's norm.
#pragma once
#include <cstdint>

#include "base/cpu_features.h"
#include "base/tensor.h"
#include "base/threads.h"

namespace gleaner::cpu {

/// In fp64, in chunks that depend on the size alone.
double sum_of_squares(ThreadPool& pool, Isa isa, Tensor x);

struct AdamWSettings {
  double learning_rate, beta1, beta2, eps, weight_decay;
  int64_t step;  // from 1
  double grad_scale;
};
/// torch.optim.AdamW; weight, exp_avg and exp_avg_sq are updated.
void adamw_step(ThreadPool& pool, Isa isa, Tensor weight, Tensor gradient, Tensor exp_avg, Tensor exp_avg_sq,
                const AdamWSettings& settings);

struct RmsPropSettings {
  double learning_rate, alpha, eps, weight_decay, grad_scale;
};
/// torch.optim.RMSprop without momentum, not centred; weight and square_avg are updated.
void rmsprop_step(ThreadPool& pool, Isa isa, Tensor weight, Tensor gradient, Tensor square_avg,
                  const RmsPropSettings& settings);

}  // namespace gleaner::cpu
