// Ops on the CPU: checks shapes, owns the pool and the workspace, calls the kernels beside it.
#pragma once
#include <cstddef>
#include <string>

#include "base/cpu_features.h"
#include "base/memory.h"
#include "base/threads.h"
#include "ops/cpu/gemm.h"
#include "ops/ops.h"

namespace gleaner::cpu {

class CpuOps final : public Ops {
 public:
  CpuOps(Isa isa, int threads) : isa_(isa), pool_(threads) {}

  std::string name() const override { return isa_name(isa_); }
  int threads() const override { return pool_.threads(); }
  size_t workspace_bytes(const OpsLimits& limits) const override;
  void reserve_workspace(Memory& memory, const OpsLimits& limits) override;

  size_t packed_forward_floats(int64_t out, int64_t in) const override { return packed_floats(in, out, isa_); }
  size_t packed_backward_floats(int64_t out, int64_t in) const override { return packed_floats(out, in, isa_); }
  void pack(const Weight& weight) override;
  void linear_forward(Tensor x, const Weight& weight, Tensor bias, Tensor residual, Tensor y) override;
  void linear_backward_input(Tensor dy, const Weight& weight, bool add, Tensor dx) override;
  void linear_backward_weight(Tensor dy, Tensor x, Tensor dweight, Tensor dbias) override;

  void layer_norm_forward(Tensor x, Tensor weight, Tensor bias, float eps, Tensor y, Tensor mean, Tensor rstd) override;
  void layer_norm_backward(Tensor dy, Tensor x, Tensor weight, Tensor mean, Tensor rstd, bool add, Tensor dx,
                           Tensor dweight, Tensor dbias) override;
  void rms_norm_forward(Tensor x, Tensor weight, float eps, Tensor y, Tensor rstd) override;
  void rms_norm_backward(Tensor dy, Tensor x, Tensor weight, Tensor rstd, bool add, Tensor dx, Tensor dweight) override;
  void rope(Tensor x, int64_t head_dim, int64_t rotary_dim, std::span<const int32_t> positions, Tensor cosine,
            Tensor sine, bool inverse) override;
  void gelu_forward(Tensor x, Tensor y) override;
  void gelu_backward(Tensor dy, Tensor x, Tensor dx) override;
  void swiglu_forward(Tensor gate_up, Tensor y) override;
  void swiglu_backward(Tensor dy, Tensor gate_up, Tensor dgate_up) override;

  void embedding_forward(std::span<const int32_t> ids, Tensor weight, Tensor y) override;
  void embedding_backward(std::span<const int32_t> ids, Tensor dy, Tensor dweight) override;
  void gather_rows(Tensor x, std::span<const int32_t> rows, Tensor y) override;
  void scatter_add_rows(Tensor dy, std::span<const int32_t> rows, Tensor dx) override;
  void add(Tensor x, Tensor y) override;
  void copy(Tensor x, Tensor y) override;
  void fill(Tensor x, float value) override;

  void attention_forward(const Forest& forest, std::span<const QueryRange> queries, const AttentionShape& shape,
                         Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse) override;
  void attention_backward(const Forest& forest, std::span<const QueryRange> queries, const AttentionShape& shape,
                          Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor dq, Tensor dk,
                          Tensor dv) override;
  void cache_write(Tensor k, Tensor v, std::span<const int64_t> slots, Tensor cache_k, Tensor cache_v) override;
  void attention_cached(std::span<const CachedQuery> queries, int64_t page_size, const AttentionShape& shape, Tensor q,
                        Tensor cache_k, Tensor cache_v, Tensor out) override;

  void logprob_forward(Tensor x, const Weight& head, std::span<const HeadTarget> targets, std::span<float> logprobs,
                       std::span<double> lse, std::span<int32_t> best) override;
  void logprob_backward(Tensor x, const Weight& head, std::span<const HeadTarget> targets,
                        std::span<const float> logprobs, std::span<const double> lse, std::span<const float> dlogprobs,
                        Tensor dx, Tensor dweight) override;
  void logprob_forward_backward(Tensor x, const Weight& head, std::span<const HeadTarget> targets,
                                std::span<const float> dlogprobs, std::span<float> logprobs, Tensor dx,
                                Tensor dweight) override;
  void sample(Tensor logits, std::span<const SamplingOptions> options, std::span<Sampled> sampled) override;

  double sum_of_squares(Tensor x) override;
  void adamw_step(Tensor weight, Tensor gradient, Tensor exp_avg, Tensor exp_avg_sq, double learning_rate, double beta1,
                  double beta2, double eps, double weight_decay, int64_t step, double grad_scale) override;
  void rmsprop_step(Tensor weight, Tensor gradient, Tensor square_avg, double learning_rate, double alpha, double eps,
                    double weight_decay, double grad_scale) override;

 private:
  PackedMatrix packed_forward(const Weight& weight) const;
  PackedMatrix packed_backward(const Weight& weight) const;
  /// The workspace, which must hold `floats`.
  float* workspace(size_t floats);

  Isa isa_;
  ThreadPool pool_;
  Buffer workspace_;
};

}  // namespace gleaner::cpu
