// THE interface between what a model is (above) and how a machine computes it (below: cpu/, later cuda/).
// Tensors are borrowed and live in the backend's memory; spans are host memory. Parameter gradients add, activation
// gradients overwrite unless the name or an argument says otherwise. Each output element is summed by one thread in one
// fixed order that depends neither on the number of threads nor on how many rows the batch has; scratch comes from
// reserve_workspace, never from the heap.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/memory.h"
#include "base/tensor.h"
#include "ops/segments.h"

namespace gleaner {

/// A linear map's weight [out, in] and the copies that a backend multiplies with. A product whose copy is null is
/// ERR_GLEANER_INTERNAL.
struct Weight {
  Tensor value;
  float* packed_forward = nullptr;   // for y = x W^T
  float* packed_backward = nullptr;  // for dx = dy W
};

/// The largest sizes that calls will have, so that the workspace can be planned.
struct OpsLimits {
  int64_t rows = 0;  // tokens of a micro-batch, or of a prefill
  int64_t cols = 0;  // widest activation: max(hidden, heads * head_dim, 2 * kv_heads * head_dim, gated intermediate)
  int64_t path_tokens = 0;  // longest root-to-leaf path, in tokens
  int64_t heads = 0;
  int64_t head_dim = 0;
  int64_t hidden = 0;
  int64_t vocab = 0;
  bool training = false;
  bool sampling = false;
};

/// One log-probability asked for: of `token` at row `row` of the head's input. Sorted by row.
struct HeadTarget {
  int32_t row = 0;
  int32_t token = 0;
};

struct SamplingOptions {
  float temperature = 1;  // 0: greedy (the lowest id wins a tie)
  float top_p = 1;
  int32_t top_k = 0;  // 0: off
  uint64_t seed = 0;
  uint64_t sample_id = 0;
  uint32_t position = 0;  // of the token to draw, counted from the response's start
};

struct Sampled {
  int32_t token = 0;
  float logprob = 0;       // under the distribution sampled from (0 when greedy)
  float logprob_full = 0;  // under temperature 1 and full support
};

class Ops {
 public:
  virtual ~Ops() = default;
  /// "avx512", "avx2", "portable", …
  virtual std::string name() const = 0;
  virtual int threads() const = 0;

  /// Bytes of scratch for calls within the limits; reserve_workspace allocates them (again, when they grow).
  virtual size_t workspace_bytes(const OpsLimits& limits) const = 0;
  virtual void reserve_workspace(Memory& memory, const OpsLimits& limits) = 0;

  // --- linear maps: y = x W^T + bias
  // -------------------------------------------------------------------------------------------
  /// Floats of one packed copy.
  virtual size_t packed_forward_floats(int64_t out, int64_t in) const = 0;
  virtual size_t packed_backward_floats(int64_t out, int64_t in) const = 0;
  /// Refreshes the packed copies that are set; to be called after value changed.
  virtual void pack(const Weight& weight) = 0;
  /// y = x W^T (+ bias [1, out]) (+ residual). x [rows, in]; y, residual [rows, out]. residual may be y itself.
  virtual void linear_forward(Tensor x, const Weight& weight, Tensor bias, Tensor residual, Tensor y) = 0;
  /// dx = dy W, or dx += dy W. dy [rows, out]; dx [rows, in].
  virtual void linear_backward_input(Tensor dy, const Weight& weight, bool add, Tensor dx) = 0;
  /// dweight [out, in] += dy^T x, dbias [1, out] += column sums of dy (dbias may be empty); both in row order.
  virtual void linear_backward_weight(Tensor dy, Tensor x, Tensor dweight, Tensor dbias) = 0;

  // --- norms; x, y, dy, dx [rows, hidden]; weight, bias [1, hidden]; mean, rstd [rows, 1]
  // ---------------------------------------
  virtual void layer_norm_forward(Tensor x, Tensor weight, Tensor bias, float eps, Tensor y, Tensor mean,
                                  Tensor rstd) = 0;
  /// dx overwritten, or added to when `add`.
  virtual void layer_norm_backward(Tensor dy, Tensor x, Tensor weight, Tensor mean, Tensor rstd, bool add, Tensor dx,
                                   Tensor dweight, Tensor dbias) = 0;
  virtual void rms_norm_forward(Tensor x, Tensor weight, float eps, Tensor y, Tensor rstd) = 0;
  virtual void rms_norm_backward(Tensor dy, Tensor x, Tensor weight, Tensor rstd, bool add, Tensor dx,
                                 Tensor dweight) = 0;

  // --- rotary positions, half-split pairs (i, i + rotary_dim / 2) of each head's first rotary_dim values, in place
  // ----------------
  /// x [rows, heads * head_dim]; cosine, sine [positions, rotary_dim / 2]; positions [rows]. inverse: the rotation's
  /// backward.
  virtual void rope(Tensor x, int64_t head_dim, int64_t rotary_dim, std::span<const int32_t> positions, Tensor cosine,
                    Tensor sine, bool inverse) = 0;

  // --- activations
  // ---------------------------------------------------------------------------------------------------------------
  /// Exact GELU, x Φ(x).
  virtual void gelu_forward(Tensor x, Tensor y) = 0;
  virtual void gelu_backward(Tensor dy, Tensor x, Tensor dx) = 0;
  /// y [rows, n] = silu(gate) * up; gate_up [rows, 2n], gate first.
  virtual void swiglu_forward(Tensor gate_up, Tensor y) = 0;
  virtual void swiglu_backward(Tensor dy, Tensor gate_up, Tensor dgate_up) = 0;

  // --- rows
  // ------------------------------------------------------------------------------------------------------------------------
  virtual void embedding_forward(std::span<const int32_t> ids, Tensor weight, Tensor y) = 0;
  /// dweight[ids[t]] += dy[t], in token order.
  virtual void embedding_backward(std::span<const int32_t> ids, Tensor dy, Tensor dweight) = 0;
  /// y[i] = x[rows[i]].
  virtual void gather_rows(Tensor x, std::span<const int32_t> rows, Tensor y) = 0;
  /// dx[rows[i]] += dy[i]; rows are distinct.
  virtual void scatter_add_rows(Tensor dy, std::span<const int32_t> rows, Tensor dx) = 0;
  /// y += x.
  virtual void add(Tensor x, Tensor y) = 0;
  virtual void copy(Tensor x, Tensor y) = 0;
  virtual void fill(Tensor x, float value) = 0;

  // --- attention over a forest
  // -------------------------------------------------------------------------------------------------------
  /// q, out [queries, heads * head_dim]; k, v [tokens, kv_heads * head_dim] (strided views); lse [queries, heads],
  /// natural log, kept for backward. Queries are suffixes of segments (QueryRange), so that a last layer computes only
  /// rows that matter. A row's result is the same bits however its path is cut into segments.
  virtual void attention_forward(const Forest& forest, std::span<const QueryRange> queries, const AttentionShape& shape,
                                 Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse) = 0;
  /// dq, dk, dv are overwritten; rows of dk, dv that no query sees become 0.
  virtual void attention_backward(const Forest& forest, std::span<const QueryRange> queries,
                                  const AttentionShape& shape, Tensor dout, Tensor q, Tensor k, Tensor v, Tensor out,
                                  Tensor lse, Tensor dq, Tensor dk, Tensor dv) = 0;
  // --- attention over a paged KV cache; cache_k, cache_v [pages * page_size, kv_heads * head_dim]
  // -----------------------------------------
  /// cache[slots[i]] = k[i], v[i].
  virtual void cache_write(Tensor k, Tensor v, std::span<const int64_t> slots, Tensor cache_k, Tensor cache_v) = 0;
  /// Same bits as attention_forward gives for the same path.
  virtual void attention_cached(std::span<const CachedQuery> queries, int64_t page_size, const AttentionShape& shape,
                                Tensor q, Tensor cache_k, Tensor cache_v, Tensor out) = 0;

  // --- log-prob head: no [rows, vocab] matrix is held, logits exist in chunks
  // --------------------------------------------------------------
  /// logprobs[i] = log softmax(x[row_i] W^T)[token_i]. x [rows, hidden]; lse [rows] kept for backward; best [rows]
  /// (optional, else empty): argmax.
  virtual void logprob_forward(Tensor x, const Weight& head, std::span<const HeadTarget> targets,
                               std::span<float> logprobs, std::span<double> lse, std::span<int32_t> best) = 0;
  /// With dlogits = sum over a row's targets of dlogprob_i (onehot(token_i) - softmax): dx [rows, hidden] overwritten,
  /// dweight [vocab, hidden] added to.
  virtual void logprob_backward(Tensor x, const Weight& head, std::span<const HeadTarget> targets,
                                std::span<const float> logprobs, std::span<const double> lse,
                                std::span<const float> dlogprobs, Tensor dx, Tensor dweight) = 0;
  /// Both at once where dlogprobs are known beforehand (SFT), so that the logits are computed once.
  virtual void logprob_forward_backward(Tensor x, const Weight& head, std::span<const HeadTarget> targets,
                                        std::span<const float> dlogprobs, std::span<float> logprobs, Tensor dx,
                                        Tensor dweight) = 0;

  // --- sampling
  // ------------------------------------------------------------------------------------------------------------------------------
  /// One token a row of logits [rows, vocab] (may be overwritten).
  virtual void sample(Tensor logits, std::span<const SamplingOptions> options, std::span<Sampled> sampled) = 0;

  // --- optimiser steps, torch's forms; gradient is scaled by grad_scale as it is read
  // --------------------------------------------------------
  virtual double sum_of_squares(Tensor x) = 0;
  /// torch.optim.AdamW: decoupled decay, eps outside the square root, bias correction by `step` (1-based).
  virtual void adamw_step(Tensor weight, Tensor gradient, Tensor exp_avg, Tensor exp_avg_sq, double learning_rate,
                          double beta1, double beta2, double eps, double weight_decay, int64_t step,
                          double grad_scale) = 0;
  /// torch.optim.RMSprop without momentum, not centred; weight_decay is added to the gradient.
  virtual void rmsprop_step(Tensor weight, Tensor gradient, Tensor square_avg, double learning_rate, double alpha,
                            double eps, double weight_decay, double grad_scale) = 0;
};

struct OpsOptions {
  std::string backend = "auto";  // auto | cpu
  std::string isa = "auto";      // auto | portable | avx2 | avx512
  int threads = 1;
};

/// The backend that the options name; throws ERR_GLEANER_USAGE for one that this machine lacks.
std::unique_ptr<Ops> make_ops(const OpsOptions& options);

}  // namespace gleaner
