// Loops over rows and elements that the compiler vectorises, compiled once for each instruction set from loops.inc.
// Sums run in 16 lanes by column, so their bits do not depend on the instruction set; multiply and add are never
// contracted.
#pragma once
#include <cstdint>

#include "base/cpu_features.h"

namespace gleaner::cpu {

struct AdamWStep {
  float decay;       // 1 - learning_rate * weight_decay
  float beta1_rest;  // 1 - beta1
  float beta2;
  float beta2_rest;  // 1 - beta2
  float root_bias2;  // sqrt(1 - beta2^step)
  float eps;
  float step_size;  // learning_rate / (1 - beta1^step)
  float grad_scale;
};

struct RmsPropStep {
  float alpha;
  float alpha_rest;
  float eps;
  float learning_rate;
  float weight_decay;
  float grad_scale;
};

struct Loops {
  // One row of n values.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* y,
                     float* mean, float* rstd);
  void (*layer_norm_dx)(const float* dy, const float* x, const float* weight, float mean, float rstd, int64_t n,
                        bool add, float* dx);
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float* y, float* rstd);
  void (*rms_norm_dx)(const float* dy, const float* x, const float* weight, float rstd, int64_t n, bool add, float* dx);
  // n columns of one row added to parameter gradients.
  void (*layer_norm_dweight)(const float* dy, const float* x, float mean, float rstd, int64_t n, float* dweight,
                             float* dbias);
  void (*rms_norm_dweight)(const float* dy, const float* x, float rstd, int64_t n, float* dweight);
  /// One head: first[i], second[i] rotate by (cosine[i], sine[i]).
  void (*rotate)(float* first, float* second, const float* cosine, const float* sine, int64_t half);
  void (*gelu)(const float* x, int64_t n, float* y);
  void (*gelu_dx)(const float* dy, const float* x, int64_t n, float* dx);
  void (*swiglu)(const float* gate, const float* up, int64_t n, float* y);
  void (*swiglu_dx)(const float* dy, const float* gate, const float* up, int64_t n, float* dgate, float* dup);
  void (*add)(const float* x, int64_t n, float* y);
  /// Largest of n values; NaN when any is NaN.
  float (*max)(const float* x, int64_t n);
  /// Sum of exp((x - shift) * scale), in fp64.
  double (*sum_exp)(const float* x, int64_t n, float shift, float scale);
  /// The same sum; y = exp((x - shift) * scale), may be x.
  double (*exp_sum)(const float* x, int64_t n, float shift, float scale, float* y);
  /// y = factor * x.
  void (*scale)(const float* x, int64_t n, float factor, float* y);
  /// y = factor * exp((x - shift) * scale).
  void (*exp)(const float* x, int64_t n, float shift, float scale, float factor, float* y);
  double (*sum_of_squares)(const float* x, int64_t n);
  void (*adamw)(float* weight, const float* gradient, float* exp_avg, float* exp_avg_sq, int64_t n,
                const AdamWStep& step);
  void (*rmsprop)(float* weight, const float* gradient, float* square_avg, int64_t n, const RmsPropStep& step);
};

const Loops& loops(Isa isa);

}  // namespace gleaner::cpu
