// Linear maps and norms: an op each, bound to their parameters.
#include "model/layers.h"

#include <string>

namespace gleaner {

namespace {
Tensor value_or_none(const Parameter* parameter) { return parameter != nullptr ? parameter->weight.value : Tensor{}; }
Tensor gradient_or_none(const Parameter* parameter) { return parameter != nullptr ? parameter->gradient : Tensor{}; }
}  // namespace

void Linear::forward(Ops& ops, Tensor x, Tensor residual, Tensor y) const {
  ops.linear_forward(x, weight->weight, value_or_none(bias), residual, y);
}
void Linear::backward_input(Ops& ops, Tensor dy, bool add, Tensor dx) const {
  ops.linear_backward_input(dy, weight->weight, add, dx);
}
void Linear::backward_weight(Ops& ops, Tensor dy, Tensor x) const {
  ops.linear_backward_weight(dy, x, weight->gradient, gradient_or_none(bias));
}

void Norm::forward(Ops& ops, Tensor x, Tensor y, Tensor mean, Tensor rstd) const {
  if (bias != nullptr) {
    ops.layer_norm_forward(x, weight->weight.value, bias->weight.value, eps, y, mean, rstd);
  } else {
    ops.rms_norm_forward(x, weight->weight.value, eps, y, rstd);
  }
}
void Norm::backward(Ops& ops, Tensor dy, Tensor x, Tensor mean, Tensor rstd, bool add, Tensor dx) const {
  if (bias != nullptr) {
    ops.layer_norm_backward(dy, x, weight->weight.value, mean, rstd, add, dx, weight->gradient, bias->gradient);
  } else {
    ops.rms_norm_backward(dy, x, weight->weight.value, rstd, add, dx, weight->gradient);
  }
}

Linear linear_of(Parameters& parameters, const std::string& name) {
  return {.weight = &parameters.at(name + ".weight"), .bias = parameters.find(name + ".bias")};
}
Norm norm_of(const DecoderSpec& spec, Parameters& parameters, const std::string& name) {
  return {.weight = &parameters.at(name + ".weight"),
          .bias = parameters.find(name + ".bias"),
          .eps = static_cast<float>(spec.norm_eps)};
}

}  // namespace gleaner
