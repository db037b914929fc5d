// Layers in order, and back. The last layer computes only rows that a target or child needs.
#include "model/decoder.h"

#include <cmath>
#include <string>
#include <utility>

#include "base/error.h"

namespace gleaner {

namespace {

/// Keys and values of the pass itself.
class ForestContext final : public AttentionContext {
 public:
  explicit ForestContext(const DecoderBatch& batch) : forest_(*batch.forest), needed_(*batch.needed) {}
  std::span<const int32_t> positions() const override { return forest_.positions; }
  std::span<const int32_t> needed_rows() const override { return needed_.rows; }
  std::span<const int32_t> needed_positions() const override { return needed_.positions; }
  void attend(Ops& ops, int64_t, bool needed_only, const AttentionShape& shape, Tensor q, Tensor kv, Tensor out,
              Tensor lse) override {
    const int64_t width = shape.kv_heads * shape.head_dim;
    ops.attention_forward(forest_, needed_only ? needed_.queries : forest_.all, shape, q, kv.slice_cols(0, width),
                          kv.slice_cols(width, width), out, lse);
  }

 private:
  const Forest& forest_;
  const NeededRows& needed_;
};

}  // namespace

Activations::Activations(const DecoderSpec& spec, int64_t tokens, int64_t needed, ActivationPolicy activation_policy,
                         Arena& arena)
    : policy(activation_policy) {
  const int64_t query_width = spec.heads * spec.head_dim;
  const int64_t kv_width = 2 * spec.kv_heads * spec.head_dim;
  const int64_t up_width = spec.mlp == MlpKind::swiglu ? 2 * spec.intermediate : spec.intermediate;
  // The middle of a layer: its own (keep), or one that all layers share. Rows are cut to a layer's need.
  const auto middle = [&](int64_t rows, bool last) {
    LayerSaved saved;
    saved.attention_norm = arena.tensor(tokens, spec.hidden);
    saved.attention_mean = arena.tensor(tokens, 1);
    saved.attention_rstd = arena.tensor(tokens, 1);
    saved.x_needed = last ? arena.tensor(rows, spec.hidden) : Tensor{};
    saved.attention_norm_needed = last ? arena.tensor(rows, spec.hidden) : saved.attention_norm;
    saved.q = arena.tensor(rows, query_width);
    saved.kv = arena.tensor(tokens, kv_width);
    saved.attention = arena.tensor(rows, query_width);
    saved.lse = arena.tensor(rows, spec.heads);
    saved.mid = arena.tensor(rows, spec.hidden);
    saved.mlp_norm = arena.tensor(rows, spec.hidden);
    saved.mlp_mean = arena.tensor(rows, 1);
    saved.mlp_rstd = arena.tensor(rows, 1);
    saved.up = arena.tensor(rows, up_width);
    saved.act = arena.tensor(rows, spec.intermediate);
    return saved;
  };
  const bool own = policy == ActivationPolicy::keep;
  LayerSaved shared;
  if (!own && spec.layers > 1) shared = middle(tokens, false);
  Tensor ping[2];
  if (policy == ActivationPolicy::none) {
    ping[0] = arena.tensor(tokens, spec.hidden);
    ping[1] = arena.tensor(tokens, spec.hidden);
  }
  for (int64_t i = 0; i < spec.layers; ++i) {
    const bool last = i + 1 == spec.layers;
    LayerSaved saved = own || last ? middle(last ? needed : tokens, last) : shared;
    saved.x = policy == ActivationPolicy::none ? ping[i % 2] : arena.tensor(tokens, spec.hidden);
    if (!last) saved.x_needed = saved.x;
    layers.push_back(saved);
  }
  last = arena.tensor(needed, spec.hidden);
  final_mean = arena.tensor(needed, 1);
  final_rstd = arena.tensor(needed, 1);
  hidden = arena.tensor(needed, spec.hidden);
  if (policy == ActivationPolicy::none) return;
  dhidden = arena.tensor(needed, spec.hidden);
  scratch = {.dx = arena.tensor(tokens, spec.hidden),
             .dneeded = arena.tensor(needed, spec.hidden),
             .dnorm = arena.tensor(tokens, spec.hidden),
             .dattention = arena.tensor(tokens, query_width),
             .dq = arena.tensor(tokens, query_width),
             .dkv = arena.tensor(tokens, kv_width),
             .dup = arena.tensor(tokens, up_width),
             .dact = arena.tensor(tokens, spec.intermediate)};
}

Decoder::Decoder(DecoderSpec spec, Parameters& parameters, Ops& ops)
    : spec_(std::move(spec)),
      ops_(ops),
      embed_(&parameters.at("embed.weight")),
      head_(&parameters.at(spec_.tied_head ? "embed.weight" : "head.weight")),
      final_norm_(norm_of(spec_, parameters, "final_norm")) {
  for (int64_t i = 0; i < spec_.layers; ++i) {
    attention_.emplace_back(spec_, parameters, i);
    mlp_.emplace_back(spec_, parameters, i);
  }
}

size_t Decoder::rope_bytes(const DecoderSpec& spec, int64_t positions) {
  return float_bytes(positions, spec.rotary_dim);
}

void Decoder::reserve_positions(Memory& memory, int64_t positions) {
  if (spec_.rotary_dim == 0 || positions <= rope_.cosine.rows) return;
  const int64_t half = spec_.rotary_dim / 2;
  rope_ = {};
  rope_buffer_ = Buffer{};
  rope_buffer_ = memory.allocate(Purpose::weights, rope_bytes(spec_, positions));
  rope_.cosine = Tensor::f32(rope_buffer_.f32(), positions, half);
  rope_.sine = Tensor::f32(rope_buffer_.f32() + positions * half, positions, half);
  for (int64_t position = 0; position < positions; ++position) {
    for (int64_t i = 0; i < half; ++i) {  // angles in fp64: at position 100k fp32 is off by 1e-2
      const double angle = static_cast<double>(position) * spec_.inverse_frequencies[static_cast<size_t>(i)];
      rope_.cosine.row(position)[i] = static_cast<float>(std::cos(angle));
      rope_.sine.row(position)[i] = static_cast<float>(std::sin(angle));
    }
  }
}

void Decoder::layer_forward(size_t layer, AttentionContext& context, LayerSaved& saved, Tensor y) {
  attention_[layer].forward(ops_, rope_, context, is_last(layer), saved);
  mlp_[layer].forward(ops_, spec_.parallel_residual ? saved.x_needed : saved.mid, saved, y);
}

void Decoder::run_layers(std::span<const int32_t> ids, AttentionContext& context, Activations& activations) {
  auto& layers = activations.layers;
  ops_.embedding_forward(ids, embed_->weight.value, layers[0].x);
  for (size_t i = 0; i < layers.size(); ++i)
    layer_forward(i, context, layers[i], is_last(i) ? activations.last : layers[i + 1].x);
  final_norm_.forward(ops_, activations.last, activations.hidden, activations.final_mean, activations.final_rstd);
}

void Decoder::forward(const DecoderBatch& batch, Activations& activations) {
  ForestContext context(batch);
  run_layers(batch.ids, context, activations);
}

void Decoder::forward_cached(std::span<const int32_t> ids, AttentionContext& context, Activations& activations) {
  run_layers(ids, context, activations);
}

void Decoder::backward(const DecoderBatch& batch, Activations& activations) {
  ForestContext context(batch);
  BackwardScratch& scratch = activations.scratch;
  final_norm_.backward(ops_, activations.dhidden, activations.last, activations.final_mean, activations.final_rstd,
                       false, scratch.dneeded);
  for (size_t i = activations.layers.size(); i-- > 0;) {
    LayerSaved& saved = activations.layers[i];
    const bool last = is_last(i);
    // The last layer's own middle is still there from forward; the others share theirs when recomputing.
    // The output written again is the next layer's input, whose gradient has been taken: the same bits once more.
    if (activations.policy == ActivationPolicy::recompute && !last)
      layer_forward(i, context, saved, activations.layers[i + 1].x);
    const Tensor dout = last ? scratch.dneeded : scratch.dx;
    if (spec_.parallel_residual) {
      attention_[i].backward_output(ops_, dout, saved, scratch);
      mlp_[i].backward(ops_, saved.x_needed, saved, scratch, dout);
    } else {
      mlp_[i].backward(ops_, saved.mid, saved, scratch, dout);
      attention_[i].backward_output(ops_, dout, saved, scratch);
    }
    if (last) {
      ops_.fill(scratch.dx, 0);
      ops_.scatter_add_rows(scratch.dneeded, batch.needed->rows, scratch.dx);
    }
    attention_[i].backward_input(
        ops_, rope_, *batch.forest, last ? std::span<const QueryRange>(batch.needed->queries) : batch.forest->all,
        batch.forest->positions, batch.needed->positions, batch.needed->rows, last, saved, scratch, scratch.dx);
  }
  ops_.embedding_backward(batch.ids, scratch.dx, embed_->gradient);
}

}  // namespace gleaner
