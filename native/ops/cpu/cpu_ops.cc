// A shape that does not fit is a bug above, found here before a kernel runs past a row's end.
#include "ops/cpu/cpu_ops.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "ops/cpu/activation.h"
#include "ops/cpu/attention.h"
#include "ops/cpu/embedding.h"
#include "ops/cpu/logprob_head.h"
#include "ops/cpu/norm.h"
#include "ops/cpu/optimizer_step.h"
#include "ops/cpu/rope.h"
#include "ops/cpu/rows.h"
#include "ops/cpu/sampling.h"

namespace gleaner::cpu {

namespace {

void check(bool holds, const char* operation, const char* what) {
  if (!holds) throw Error("ERR_GLEANER_INTERNAL", std::string(operation) + ": " + what);
}

std::string shape_of(Tensor x) { return "[" + std::to_string(x.rows) + ", " + std::to_string(x.cols) + "]"; }

void check_shape(Tensor x, int64_t rows, int64_t cols, const char* operation, const char* name) {
  if (x.rows == rows && x.cols == cols && x.dtype == DType::f32 && (x.data != nullptr || x.size() == 0)) return;
  throw Error("ERR_GLEANER_INTERNAL", std::string(operation) + ": " + name + " is " + shape_of(x) + ", wanted [" +
                                          std::to_string(rows) + ", " + std::to_string(cols) + "] in fp32");
}

bool is_dense(Tensor x) { return x.stride == x.cols || x.rows <= 1; }

/// Indices into the rows of a table: kernels trust them.
void check_indices(std::span<const int32_t> indices, int64_t rows, const char* operation) {
  for (const int32_t index : indices) {
    if (index >= 0 && index < rows) continue;
    throw Error("ERR_GLEANER_INTERNAL",
                std::string(operation) + ": index " + std::to_string(index) + " of " + std::to_string(rows) + " rows");
  }
}

void check_targets(std::span<const HeadTarget> targets, int64_t rows, int64_t vocab, const char* operation) {
  int32_t previous = 0;
  for (const HeadTarget& target : targets) {
    if (target.row >= previous && target.row < rows && target.token >= 0 && target.token < vocab) {
      previous = target.row;
      continue;
    }
    throw Error("ERR_GLEANER_INTERNAL", std::string(operation) + ": target (row " + std::to_string(target.row) +
                                            ", token " + std::to_string(target.token) + ") of " + std::to_string(rows) +
                                            " rows in order and " + std::to_string(vocab) + " tokens");
  }
}

size_t aligned(size_t floats) { return (floats + 15) / 16 * 16; }

}  // namespace

size_t CpuOps::workspace_bytes(const OpsLimits& limits) const {
  const int threads = pool_.threads();
  size_t floats = std::max(gemm_workspace_floats(threads), attention_workspace_floats(limits, threads));
  floats = std::max(floats, head_workspace_floats(limits.rows, limits.hidden, limits.vocab, threads, limits.training));
  if (limits.training)
    floats = std::max(floats, gemm_dweight_workspace_floats(std::max(limits.cols, limits.hidden), threads));
  if (limits.sampling) floats = std::max(floats, sampling_workspace_floats(limits.vocab, threads));
  return aligned(floats) * sizeof(float);
}

void CpuOps::reserve_workspace(Memory& memory, const OpsLimits& limits) {
  const size_t bytes = workspace_bytes(limits);
  if (bytes <= workspace_.bytes()) return;
  workspace_ = Buffer{};  // first: the two need not fit together
  workspace_ = memory.allocate(Purpose::workspace, bytes);
}

float* CpuOps::workspace(size_t floats) {
  if (floats * sizeof(float) <= workspace_.bytes()) return workspace_.f32();
  throw Error("ERR_GLEANER_INTERNAL", "a kernel needs " + std::to_string(floats * sizeof(float)) +
                                          " bytes of workspace, reserved are " + std::to_string(workspace_.bytes()));
}

PackedMatrix CpuOps::packed_forward(const Weight& weight) const {
  check(weight.packed_forward != nullptr, "linear", "the weight has no packed_forward");
  return {weight.value.cols, weight.value.rows, weight.packed_forward, weight.value.cols};
}

PackedMatrix CpuOps::packed_backward(const Weight& weight) const {
  check(weight.packed_backward != nullptr, "linear", "the weight has no packed_backward");
  return {weight.value.rows, weight.value.cols, weight.packed_backward, weight.value.rows};
}

void CpuOps::pack(const Weight& weight) {
  const Tensor value = weight.value;
  if (weight.packed_forward != nullptr)
    pack_forward(pool_, isa_, value.f32(), value.rows, value.cols, value.stride, weight.packed_forward);
  if (weight.packed_backward != nullptr)
    pack_backward(pool_, isa_, value.f32(), value.rows, value.cols, value.stride, weight.packed_backward);
}

void CpuOps::linear_forward(Tensor x, const Weight& weight, Tensor bias, Tensor residual, Tensor y) {
  const Tensor value = weight.value;
  check_shape(x, y.rows, value.cols, "linear_forward", "x");
  check_shape(y, x.rows, value.rows, "linear_forward", "y");
  if (bias) check_shape(bias, 1, value.rows, "linear_forward", "bias");
  if (residual) check_shape(residual, y.rows, y.cols, "linear_forward", "residual");
  if (x.rows == 0) return;
  const GemmStart start{
      .start = residual ? residual.f32() : nullptr, .stride = residual.stride, .bias = bias ? bias.f32() : nullptr};
  gemm(pool_, isa_, x.rows, x.f32(), x.stride, packed_forward(weight), y.f32(), y.stride, start,
       workspace(gemm_workspace_floats(threads())));
}

void CpuOps::linear_backward_input(Tensor dy, const Weight& weight, bool add, Tensor dx) {
  check_shape(dy, dx.rows, weight.value.rows, "linear_backward_input", "dy");
  check_shape(dx, dy.rows, weight.value.cols, "linear_backward_input", "dx");
  if (dy.rows == 0) return;
  const GemmStart start{.start = add ? dx.f32() : nullptr, .stride = dx.stride, .bias = nullptr};
  gemm(pool_, isa_, dy.rows, dy.f32(), dy.stride, packed_backward(weight), dx.f32(), dx.stride, start,
       workspace(gemm_workspace_floats(threads())));
}

void CpuOps::linear_backward_weight(Tensor dy, Tensor x, Tensor dweight, Tensor dbias) {
  check_shape(x, dy.rows, dweight.cols, "linear_backward_weight", "x");
  check_shape(dweight, dy.cols, x.cols, "linear_backward_weight", "dweight");
  check(is_dense(dweight), "linear_backward_weight", "dweight is not dense");
  if (dbias) check_shape(dbias, 1, dy.cols, "linear_backward_weight", "dbias");
  if (dy.rows == 0) return;
  gemm_dweight(pool_, isa_, dy.rows, dy.f32(), dy.stride, dy.cols, x.f32(), x.stride, x.cols, dweight.f32(),
               workspace(gemm_dweight_workspace_floats(x.cols, threads())));
  if (dbias) add_column_sums(pool_, isa_, dy, dbias);
}

void CpuOps::layer_norm_forward(Tensor x, Tensor weight, Tensor bias, float eps, Tensor y, Tensor mean, Tensor rstd) {
  check_shape(weight, 1, x.cols, "layer_norm_forward", "weight");
  check_shape(bias, 1, x.cols, "layer_norm_forward", "bias");
  check_shape(y, x.rows, x.cols, "layer_norm_forward", "y");
  check_shape(mean, x.rows, 1, "layer_norm_forward", "mean");
  check_shape(rstd, x.rows, 1, "layer_norm_forward", "rstd");
  cpu::layer_norm_forward(pool_, isa_, x, weight, bias, eps, y, mean, rstd);
}

void CpuOps::layer_norm_backward(Tensor dy, Tensor x, Tensor weight, Tensor mean, Tensor rstd, bool add, Tensor dx,
                                 Tensor dweight, Tensor dbias) {
  check_shape(dy, x.rows, x.cols, "layer_norm_backward", "dy");
  check_shape(weight, 1, x.cols, "layer_norm_backward", "weight");
  check_shape(mean, x.rows, 1, "layer_norm_backward", "mean");
  check_shape(rstd, x.rows, 1, "layer_norm_backward", "rstd");
  check_shape(dx, x.rows, x.cols, "layer_norm_backward", "dx");
  check_shape(dweight, 1, x.cols, "layer_norm_backward", "dweight");
  check_shape(dbias, 1, x.cols, "layer_norm_backward", "dbias");
  cpu::layer_norm_backward(pool_, isa_, dy, x, weight, mean, rstd, add, dx, dweight, dbias);
}

void CpuOps::rms_norm_forward(Tensor x, Tensor weight, float eps, Tensor y, Tensor rstd) {
  check_shape(weight, 1, x.cols, "rms_norm_forward", "weight");
  check_shape(y, x.rows, x.cols, "rms_norm_forward", "y");
  check_shape(rstd, x.rows, 1, "rms_norm_forward", "rstd");
  cpu::rms_norm_forward(pool_, isa_, x, weight, eps, y, rstd);
}

void CpuOps::rms_norm_backward(Tensor dy, Tensor x, Tensor weight, Tensor rstd, bool add, Tensor dx, Tensor dweight) {
  check_shape(dy, x.rows, x.cols, "rms_norm_backward", "dy");
  check_shape(weight, 1, x.cols, "rms_norm_backward", "weight");
  check_shape(rstd, x.rows, 1, "rms_norm_backward", "rstd");
  check_shape(dx, x.rows, x.cols, "rms_norm_backward", "dx");
  check_shape(dweight, 1, x.cols, "rms_norm_backward", "dweight");
  cpu::rms_norm_backward(pool_, isa_, dy, x, weight, rstd, add, dx, dweight);
}

void CpuOps::rope(Tensor x, int64_t head_dim, int64_t rotary_dim, std::span<const int32_t> positions, Tensor cosine,
                  Tensor sine, bool inverse) {
  if (rotary_dim == 0) return;
  check(rotary_dim % 2 == 0 && rotary_dim <= head_dim && x.cols % head_dim == 0, "rope",
        "rotary_dim, head_dim and columns do not fit");
  check(std::cmp_equal(positions.size(), x.rows), "rope", "one position a row is wanted");
  check_shape(cosine, sine.rows, rotary_dim / 2, "rope", "cosine");
  check_shape(sine, cosine.rows, rotary_dim / 2, "rope", "sine");
  check_indices(positions, cosine.rows, "rope");
  cpu::rope(pool_, isa_, x, head_dim, rotary_dim, positions, cosine, sine, inverse);
}

void CpuOps::gelu_forward(Tensor x, Tensor y) {
  check_shape(y, x.rows, x.cols, "gelu_forward", "y");
  cpu::gelu_forward(pool_, isa_, x, y);
}

void CpuOps::gelu_backward(Tensor dy, Tensor x, Tensor dx) {
  check_shape(dy, x.rows, x.cols, "gelu_backward", "dy");
  check_shape(dx, x.rows, x.cols, "gelu_backward", "dx");
  cpu::gelu_backward(pool_, isa_, dy, x, dx);
}

void CpuOps::swiglu_forward(Tensor gate_up, Tensor y) {
  check_shape(gate_up, y.rows, 2 * y.cols, "swiglu_forward", "gate_up");
  cpu::swiglu_forward(pool_, isa_, gate_up, y);
}

void CpuOps::swiglu_backward(Tensor dy, Tensor gate_up, Tensor dgate_up) {
  check_shape(gate_up, dy.rows, 2 * dy.cols, "swiglu_backward", "gate_up");
  check_shape(dgate_up, dy.rows, 2 * dy.cols, "swiglu_backward", "dgate_up");
  cpu::swiglu_backward(pool_, isa_, dy, gate_up, dgate_up);
}

void CpuOps::embedding_forward(std::span<const int32_t> ids, Tensor weight, Tensor y) {
  check_shape(y, std::ssize(ids), weight.cols, "embedding_forward", "y");
  check_indices(ids, weight.rows, "embedding_forward");
  cpu::embedding_forward(pool_, ids, weight, y);
}

void CpuOps::embedding_backward(std::span<const int32_t> ids, Tensor dy, Tensor dweight) {
  check_shape(dy, std::ssize(ids), dweight.cols, "embedding_backward", "dy");
  check_indices(ids, dweight.rows, "embedding_backward");
  cpu::embedding_backward(pool_, isa_, ids, dy, dweight);
}

void CpuOps::gather_rows(Tensor x, std::span<const int32_t> rows, Tensor y) {
  check_shape(y, std::ssize(rows), x.cols, "gather_rows", "y");
  check_indices(rows, x.rows, "gather_rows");
  cpu::gather_rows(pool_, x, rows, y);
}

void CpuOps::scatter_add_rows(Tensor dy, std::span<const int32_t> rows, Tensor dx) {
  check_shape(dy, std::ssize(rows), dx.cols, "scatter_add_rows", "dy");
  check_indices(rows, dx.rows, "scatter_add_rows");
  cpu::scatter_add_rows(pool_, isa_, dy, rows, dx);
}

void CpuOps::add(Tensor x, Tensor y) {
  check_shape(x, y.rows, y.cols, "add", "x");
  cpu::add(pool_, isa_, x, y);
}

void CpuOps::copy(Tensor x, Tensor y) {
  check_shape(x, y.rows, y.cols, "copy", "x");
  cpu::copy(pool_, x, y);
}

void CpuOps::fill(Tensor x, float value) { cpu::fill(pool_, x, value); }

void CpuOps::attention_forward(const Forest& forest, std::span<const QueryRange> queries, const AttentionShape& shape,
                               Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse) {
  check_shape(out, q.rows, shape.heads * shape.head_dim, "attention_forward", "out");
  check_shape(q, out.rows, shape.heads * shape.head_dim, "attention_forward", "q");
  check_shape(k, forest.tokens, shape.kv_heads * shape.head_dim, "attention_forward", "k");
  check_shape(v, forest.tokens, shape.kv_heads * shape.head_dim, "attention_forward", "v");
  if (lse) check_shape(lse, q.rows, shape.heads, "attention_forward", "lse");
  cpu::attention_forward(pool_, isa_, forest, queries, shape, q, k, v, out, lse, workspace_.f32());
}

void CpuOps::attention_backward(const Forest& forest, std::span<const QueryRange> queries, const AttentionShape& shape,
                                Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse, Tensor dq, Tensor dk,
                                Tensor dv) {
  const int64_t q_cols = shape.heads * shape.head_dim;
  const int64_t kv_cols = shape.kv_heads * shape.head_dim;
  for (const Tensor& tensor : {dout, q, out, dq})
    check_shape(tensor, q.rows, q_cols, "attention_backward", "dout, q, out or dq");
  for (const Tensor& tensor : {k, v, dk, dv})
    check_shape(tensor, forest.tokens, kv_cols, "attention_backward", "k, v, dk or dv");
  check_shape(lse, q.rows, shape.heads, "attention_backward", "lse");
  cpu::attention_backward(pool_, isa_, forest, queries, shape, dout, q, k, v, out, lse, dq, dk, dv, workspace_.f32());
}

void CpuOps::cache_write(Tensor k, Tensor v, std::span<const int64_t> slots, Tensor cache_k, Tensor cache_v) {
  check_shape(k, std::ssize(slots), cache_k.cols, "cache_write", "k");
  check_shape(v, std::ssize(slots), cache_v.cols, "cache_write", "v");
  for (const int64_t slot : slots)
    check(slot >= 0 && slot < cache_k.rows && slot < cache_v.rows, "cache_write", "a slot outside the cache");
  cpu::cache_write(pool_, k, v, slots, cache_k, cache_v);
}

void CpuOps::attention_cached(std::span<const CachedQuery> queries, int64_t page_size, const AttentionShape& shape,
                              Tensor q, Tensor cache_k, Tensor cache_v, Tensor out) {
  check_shape(q, out.rows, shape.heads * shape.head_dim, "attention_cached", "q");
  check_shape(out, q.rows, shape.heads * shape.head_dim, "attention_cached", "out");
  check_shape(cache_k, cache_v.rows, shape.kv_heads * shape.head_dim, "attention_cached", "cache_k");
  check_shape(cache_v, cache_k.rows, shape.kv_heads * shape.head_dim, "attention_cached", "cache_v");
  cpu::attention_cached(pool_, isa_, queries, page_size, shape, q, cache_k, cache_v, out, workspace_.f32());
}

void CpuOps::logprob_forward(Tensor x, const Weight& head, std::span<const HeadTarget> targets,
                             std::span<float> logprobs, std::span<double> lse, std::span<int32_t> best) {
  const Tensor value = head.value;
  check_shape(x, std::ssize(lse), value.cols, "logprob_forward", "x");
  check(logprobs.size() == targets.size() && (best.empty() || best.size() == lse.size()), "logprob_forward",
        "sizes differ");
  check_targets(targets, x.rows, value.rows, "logprob_forward");
  cpu::logprob_forward(pool_, isa_, x, packed_forward(head), targets, logprobs, lse, best,
                       workspace(head_workspace_floats(x.rows, x.cols, value.rows, threads(), false)));
}

void CpuOps::logprob_backward(Tensor x, const Weight& head, std::span<const HeadTarget> targets,
                              std::span<const float> logprobs, std::span<const double> lse,
                              std::span<const float> dlogprobs, Tensor dx, Tensor dweight) {
  const Tensor value = head.value;
  check_shape(x, std::ssize(lse), value.cols, "logprob_backward", "x");
  check_shape(dx, x.rows, x.cols, "logprob_backward", "dx");
  check_shape(dweight, value.rows, value.cols, "logprob_backward", "dweight");
  check(is_dense(dweight), "logprob_backward", "dweight is not dense");
  check(logprobs.size() == targets.size() && dlogprobs.size() == targets.size(), "logprob_backward", "sizes differ");
  check_targets(targets, x.rows, value.rows, "logprob_backward");
  cpu::logprob_backward(pool_, isa_, x, packed_forward(head), packed_backward(head), targets, logprobs, lse, dlogprobs,
                        dx, dweight, workspace(head_workspace_floats(x.rows, x.cols, value.rows, threads(), true)));
}

void CpuOps::logprob_forward_backward(Tensor x, const Weight& head, std::span<const HeadTarget> targets,
                                      std::span<const float> dlogprobs, std::span<float> logprobs, Tensor dx,
                                      Tensor dweight) {
  const Tensor value = head.value;
  check_shape(x, dx.rows, value.cols, "logprob_forward_backward", "x");
  check_shape(dx, x.rows, x.cols, "logprob_forward_backward", "dx");
  check_shape(dweight, value.rows, value.cols, "logprob_forward_backward", "dweight");
  check(is_dense(dweight), "logprob_forward_backward", "dweight is not dense");
  check(logprobs.size() == targets.size() && dlogprobs.size() == targets.size(), "logprob_forward_backward",
        "sizes differ");
  check_targets(targets, x.rows, value.rows, "logprob_forward_backward");
  cpu::logprob_forward_backward(pool_, isa_, x, packed_forward(head), packed_backward(head), targets, dlogprobs,
                                logprobs, dx, dweight,
                                workspace(head_workspace_floats(x.rows, x.cols, value.rows, threads(), true)));
}

void CpuOps::sample(Tensor logits, std::span<const SamplingOptions> options, std::span<Sampled> sampled) {
  check(std::ssize(options) == logits.rows && std::ssize(sampled) == logits.rows && logits.cols > 0, "sample",
        "one option and one place a row are wanted");
  cpu::sample(pool_, isa_, logits, options, sampled, workspace(sampling_workspace_floats(logits.cols, threads())));
}

double CpuOps::sum_of_squares(Tensor x) {
  check(is_dense(x), "sum_of_squares", "x is not dense");
  return cpu::sum_of_squares(pool_, isa_, x);
}

void CpuOps::adamw_step(Tensor weight, Tensor gradient, Tensor exp_avg, Tensor exp_avg_sq, double learning_rate,
                        double beta1, double beta2, double eps, double weight_decay, int64_t step, double grad_scale) {
  for (const Tensor& tensor : {weight, gradient, exp_avg, exp_avg_sq}) {
    check_shape(tensor, weight.rows, weight.cols, "adamw_step", "gradient or state");
    check(is_dense(tensor), "adamw_step", "a tensor is not dense");
  }
  check(step >= 1, "adamw_step", "steps count from 1");
  cpu::adamw_step(pool_, isa_, weight, gradient, exp_avg, exp_avg_sq,
                  {.learning_rate = learning_rate,
                   .beta1 = beta1,
                   .beta2 = beta2,
                   .eps = eps,
                   .weight_decay = weight_decay,
                   .step = step,
                   .grad_scale = grad_scale});
}

void CpuOps::rmsprop_step(Tensor weight, Tensor gradient, Tensor square_avg, double learning_rate, double alpha,
                          double eps, double weight_decay, double grad_scale) {
  for (const Tensor& tensor : {weight, gradient, square_avg}) {
    check_shape(tensor, weight.rows, weight.cols, "rmsprop_step", "gradient or state");
    check(is_dense(tensor), "rmsprop_step", "a tensor is not dense");
  }
  cpu::rmsprop_step(pool_, isa_, weight, gradient, square_avg,
                    {.learning_rate = learning_rate,
                     .alpha = alpha,
                     .eps = eps,
                     .weight_decay = weight_decay,
                     .grad_scale = grad_scale});
}

}  // namespace gleaner::cpu
