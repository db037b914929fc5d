// norm → up (and gate) → GELU or SwiGLU → down + residual.
#include <string>

#include "model/layers.h"

namespace gleaner {

MlpLayer::MlpLayer(const DecoderSpec& spec, Parameters& parameters, int64_t layer) : kind_(spec.mlp) {
  const std::string name = "layers." + std::to_string(layer) + ".mlp";
  norm_ = norm_of(spec, parameters, name + "_norm");
  up_ = linear_of(parameters, name + ".up");
  down_ = linear_of(parameters, name + ".down");
}

void MlpLayer::forward(Ops& ops, Tensor from, LayerSaved& saved, Tensor y) const {
  norm_.forward(ops, from, saved.mlp_norm, saved.mlp_mean, saved.mlp_rstd);
  up_.forward(ops, saved.mlp_norm, {}, saved.up);
  switch (kind_) {
    case MlpKind::gelu:
      ops.gelu_forward(saved.up, saved.act);
      break;
    case MlpKind::swiglu:
      ops.swiglu_forward(saved.up, saved.act);
      break;
  }
  down_.forward(ops, saved.act, saved.mid, y);
}

void MlpLayer::backward(Ops& ops, Tensor from, const LayerSaved& saved, BackwardScratch& scratch, Tensor dy) const {
  const Tensor dact = scratch.dact.slice_rows(0, dy.rows);
  const Tensor dup = scratch.dup.slice_rows(0, dy.rows);
  const Tensor dnorm = scratch.dnorm.slice_rows(0, dy.rows);
  down_.backward_weight(ops, dy, saved.act);
  down_.backward_input(ops, dy, false, dact);
  switch (kind_) {
    case MlpKind::gelu:
      ops.gelu_backward(dact, saved.up, dup);
      break;
    case MlpKind::swiglu:
      ops.swiglu_backward(dact, saved.up, dup);
      break;
  }
  up_.backward_weight(ops, dup, saved.mlp_norm);
  up_.backward_input(ops, dup, false, dnorm);
  norm_.backward(ops, dnorm, from, saved.mlp_mean, saved.mlp_rstd, true, dy);
}

}  // namespace gleaner
