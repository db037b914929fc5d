// The decoder: embedding, layers, final norm. One description gives training's forward and backward, scoring, and
// sampling over a cache.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/forest.h"
#include "model/layers.h"

namespace gleaner {

/// What forward keeps: nothing (scoring, sampling), each layer's input (backward computes the rest again), or all.
enum class ActivationPolicy : uint8_t { none, recompute, keep };

/// The tensors of one pass, laid out in an arena. With a counting arena this is the plan.
struct Activations {
  /// tokens T; needed Q, rows of the last layer.
  Activations(const DecoderSpec& spec, int64_t tokens, int64_t needed, ActivationPolicy policy, Arena& arena);
  ActivationPolicy policy;
  std::vector<LayerSaved> layers;
  Tensor last;                    // [Q, hidden], the last layer's output
  Tensor final_mean, final_rstd;  // [Q, 1]
  Tensor hidden;                  // [Q, hidden], normed: what heads read
  Tensor dhidden;                 // [Q, hidden], with gradients only
  BackwardScratch scratch;
};

/// One micro-batch on its way through the model.
struct DecoderBatch {
  std::span<const int32_t> ids;  // [T]
  const Forest* forest = nullptr;
  const NeededRows* needed = nullptr;
};

class Decoder {
 public:
  Decoder(DecoderSpec spec, Parameters& parameters, Ops& ops);
  const DecoderSpec& spec() const { return spec_; }

  /// Rope tables for positions [0, positions); counted as weights.
  void reserve_positions(Memory& memory, int64_t positions);
  static size_t rope_bytes(const DecoderSpec& spec, int64_t positions);

  /// Fills activations.hidden [Q, hidden].
  void forward(const DecoderBatch& batch, Activations& activations);
  /// From activations.dhidden to the parameters' gradients.
  void backward(const DecoderBatch& batch, Activations& activations);
  /// The same decoder over a cache: new tokens in, hidden rows of context.needed_rows() out.
  void forward_cached(std::span<const int32_t> ids, AttentionContext& context, Activations& activations);

  const Weight& head() const { return head_->weight; }
  Tensor head_gradient() const { return head_->gradient; }

 private:
  void run_layers(std::span<const int32_t> ids, AttentionContext& context, Activations& activations);
  void layer_forward(size_t layer, AttentionContext& context, LayerSaved& saved, Tensor y);
  bool is_last(size_t layer) const { return layer + 1 == attention_.size(); }

  DecoderSpec spec_;
  Ops& ops_;
  Parameter* embed_;
  Parameter* head_;
  Norm final_norm_;
  std::vector<AttentionLayer> attention_;
  std::vector<MlpLayer> mlp_;
  RopeTables rope_;
  Buffer rope_buffer_;
};

}  // namespace gleaner
