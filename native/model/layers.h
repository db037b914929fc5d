// The two halves of a transformer block and their shared pieces. Each forward stands above its backward in its .cc;
// what forward keeps for backward lies in LayerSaved. T: tokens of the stream, Q: rows that the layer has to give (all,
// but for the last layer).
#pragma once
#include <cstdint>
#include <span>

#include "base/memory.h"
#include "model/parameters.h"
#include "model/spec.h"
#include "ops/ops.h"

namespace gleaner {

struct Linear {
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;  // may be null

  void forward(Ops& ops, Tensor x, Tensor residual, Tensor y) const;
  void backward_input(Ops& ops, Tensor dy, bool add, Tensor dx) const;
  /// Adds to the gradients of weight and bias.
  void backward_weight(Ops& ops, Tensor dy, Tensor x) const;
};

struct Norm {
  Parameter* weight = nullptr;
  Parameter* bias = nullptr;  // layer norm only
  float eps = 0;

  void forward(Ops& ops, Tensor x, Tensor y, Tensor mean, Tensor rstd) const;
  void backward(Ops& ops, Tensor dy, Tensor x, Tensor mean, Tensor rstd, bool add, Tensor dx) const;
};

/// What one layer's forward leaves for its backward.
struct LayerSaved {
  Tensor x;                               // [T, hidden], the layer's input
  Tensor x_needed;                        // [Q, hidden]: x itself, or its needed rows
  Tensor attention_norm;                  // [T, hidden]
  Tensor attention_norm_needed;           // [Q, hidden]
  Tensor attention_mean, attention_rstd;  // [T, 1]
  Tensor q;                               // [Q, heads * head_dim], rotated
  Tensor kv;                              // [T, 2 * kv_heads * head_dim], k rotated
  Tensor attention;                       // [Q, heads * head_dim]
  Tensor lse;                             // [Q, heads]
  Tensor mid;                             // [Q, hidden], after attention's residual
  Tensor mlp_norm;                        // [Q, hidden]
  Tensor mlp_mean, mlp_rstd;              // [Q, 1]
  Tensor up;                              // [Q, intermediate] or [Q, 2 * intermediate] (gate, up)
  Tensor act;                             // [Q, intermediate]
};

/// Gradients of activations, shared by all layers.
struct BackwardScratch {
  Tensor dx;          // [T, hidden]
  Tensor dneeded;     // [Q, hidden], the last layer's gradient coming in
  Tensor dnorm;       // [T, hidden]
  Tensor dattention;  // [T, heads * head_dim]
  Tensor dq;          // [T, heads * head_dim]
  Tensor dkv;         // [T, 2 * kv_heads * head_dim]
  Tensor dup;         // [T, gated intermediate]
  Tensor dact;        // [T, intermediate]
};

/// Where a layer's queries look: at the forest's own keys (training, scoring), or at a paged cache (sampling).
class AttentionContext {
 public:
  virtual ~AttentionContext() = default;
  virtual std::span<const int32_t> positions() const = 0;         // [T]
  virtual std::span<const int32_t> needed_rows() const = 0;       // [Q] of the last layer
  virtual std::span<const int32_t> needed_positions() const = 0;  // [Q]
  /// kv [T, 2 * kv_heads * head_dim] holds this pass's rotated keys, then values.
  virtual void attend(Ops& ops, int64_t layer, bool needed_only, const AttentionShape& shape, Tensor q, Tensor kv,
                      Tensor out, Tensor lse) = 0;
};

struct RopeTables {
  Tensor cosine;  // [positions, rotary_dim / 2]
  Tensor sine;
};

class AttentionLayer {
 public:
  AttentionLayer(const DecoderSpec& spec, Parameters& parameters, int64_t layer);
  /// Writes saved.mid = x_needed + o(attention(norm(x))).
  void forward(Ops& ops, const RopeTables& rope, AttentionContext& context, bool needed_only, LayerSaved& saved) const;
  /// First half of the way back: dmid [Q, hidden] → scratch.dattention, and o's gradients.
  void backward_output(Ops& ops, Tensor dmid, const LayerSaved& saved, BackwardScratch& scratch) const;
  /// Second half: scratch.dattention → adds to dx [T, hidden], which holds the residual's gradient already.
  void backward_input(Ops& ops, const RopeTables& rope, const Forest& forest, std::span<const QueryRange> queries,
                      std::span<const int32_t> positions, std::span<const int32_t> needed_positions,
                      std::span<const int32_t> needed_rows, bool needed_only, const LayerSaved& saved,
                      BackwardScratch& scratch, Tensor dx) const;
  const AttentionShape& shape() const { return shape_; }

 private:
  Tensor keys(Tensor kv) const { return kv.slice_cols(0, shape_.kv_heads * shape_.head_dim); }
  Tensor values(Tensor kv) const {
    return kv.slice_cols(shape_.kv_heads * shape_.head_dim, shape_.kv_heads * shape_.head_dim);
  }
  Norm norm_;
  Linear q_, kv_, o_;
  AttentionShape shape_;
  int64_t rotary_dim_;
  int64_t layer_;
};

class MlpLayer {
 public:
  MlpLayer(const DecoderSpec& spec, Parameters& parameters, int64_t layer);
  /// y [Q, hidden] = saved.mid + down(act(up(norm(from)))); from is saved.mid, or the layer's input when both halves
  /// run side by side.
  void forward(Ops& ops, Tensor from, LayerSaved& saved, Tensor y) const;
  /// dy [Q, hidden] is the gradient of y, and of mid's residual: adds norm's part to it, so that afterwards it is
  /// d(from) + dy.
  void backward(Ops& ops, Tensor from, const LayerSaved& saved, BackwardScratch& scratch, Tensor dy) const;

 private:
  Norm norm_;
  Linear up_, down_;
  MlpKind kind_;
};

Linear linear_of(Parameters& parameters, const std::string& name);
Norm norm_of(const DecoderSpec& spec, Parameters& parameters, const std::string& name);

}  // namespace gleaner
