// norm → q, kv → rope → attention → output projection + residual; forward and its two-step backward.
#include <cmath>
#include <string>

#include "model/layers.h"

namespace gleaner {

AttentionLayer::AttentionLayer(const DecoderSpec& spec, Parameters& parameters, int64_t layer)
    : rotary_dim_(spec.rotary_dim), layer_(layer) {
  const std::string name = "layers." + std::to_string(layer) + ".attention";
  norm_ = norm_of(spec, parameters, name + "_norm");
  q_ = linear_of(parameters, name + ".q");
  kv_ = linear_of(parameters, name + ".kv");
  o_ = linear_of(parameters, name + ".o");
  shape_ = {.heads = spec.heads,
            .kv_heads = spec.kv_heads,
            .head_dim = spec.head_dim,
            .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec.head_dim))),
            .window = spec.sliding_window};
}

void AttentionLayer::forward(Ops& ops, const RopeTables& rope, AttentionContext& context, bool needed_only,
                             LayerSaved& saved) const {
  norm_.forward(ops, saved.x, saved.attention_norm, saved.attention_mean, saved.attention_rstd);
  if (needed_only) {
    ops.gather_rows(saved.x, context.needed_rows(), saved.x_needed);
    ops.gather_rows(saved.attention_norm, context.needed_rows(), saved.attention_norm_needed);
  }
  q_.forward(ops, saved.attention_norm_needed, {}, saved.q);
  kv_.forward(ops, saved.attention_norm, {}, saved.kv);
  if (rotary_dim_ > 0) {
    const auto query_positions = needed_only ? context.needed_positions() : context.positions();
    ops.rope(saved.q, shape_.head_dim, rotary_dim_, query_positions, rope.cosine, rope.sine, false);
    ops.rope(keys(saved.kv), shape_.head_dim, rotary_dim_, context.positions(), rope.cosine, rope.sine, false);
  }
  context.attend(ops, layer_, needed_only, shape_, saved.q, saved.kv, saved.attention, saved.lse);
  o_.forward(ops, saved.attention, saved.x_needed, saved.mid);
}

void AttentionLayer::backward_output(Ops& ops, Tensor dmid, const LayerSaved& saved, BackwardScratch& scratch) const {
  o_.backward_weight(ops, dmid, saved.attention);
  o_.backward_input(ops, dmid, false, scratch.dattention.slice_rows(0, dmid.rows));
}

void AttentionLayer::backward_input(Ops& ops, const RopeTables& rope, const Forest& forest,
                                    std::span<const QueryRange> queries, std::span<const int32_t> positions,
                                    std::span<const int32_t> needed_positions, std::span<const int32_t> needed_rows,
                                    bool needed_only, const LayerSaved& saved, BackwardScratch& scratch,
                                    Tensor dx) const {
  const int64_t num_queries = saved.q.rows;
  const Tensor dattention = scratch.dattention.slice_rows(0, num_queries);
  const Tensor dq = scratch.dq.slice_rows(0, num_queries);
  const Tensor dkv = scratch.dkv.slice_rows(0, saved.kv.rows);
  const Tensor dnorm = scratch.dnorm.slice_rows(0, saved.x.rows);
  ops.attention_backward(forest, queries, shape_, dattention, saved.q, keys(saved.kv), values(saved.kv),
                         saved.attention, saved.lse, dq, keys(dkv), values(dkv));
  if (rotary_dim_ > 0) {
    ops.rope(dq, shape_.head_dim, rotary_dim_, needed_only ? needed_positions : positions, rope.cosine, rope.sine,
             true);
    ops.rope(keys(dkv), shape_.head_dim, rotary_dim_, positions, rope.cosine, rope.sine, true);
  }
  q_.backward_weight(ops, dq, saved.attention_norm_needed);
  kv_.backward_weight(ops, dkv, saved.attention_norm);
  kv_.backward_input(ops, dkv, false, dnorm);
  if (needed_only) {
    const Tensor dneeded = scratch.dneeded.slice_rows(0, num_queries);  // its gradient has moved on to dx
    q_.backward_input(ops, dq, false, dneeded);
    ops.scatter_add_rows(dneeded, needed_rows, dnorm);
  } else {
    q_.backward_input(ops, dq, true, dnorm);
  }
  norm_.backward(ops, dnorm, saved.x, saved.attention_mean, saved.attention_rstd, true, dx);
}

}  // namespace gleaner
