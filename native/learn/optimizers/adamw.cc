// AdamW, torch's form: decoupled weight decay, eps outside the square root.
#include "learn/optimizer.h"

namespace gleaner {

namespace {
class AdamW final : public Optimizer {
 public:
  using Optimizer::Optimizer;
  void step(Ops& ops, Tensor values, Tensor gradients, double learning_rate, double grad_scale) override {
    ++num_steps_;
    ops.adamw_step(values, gradients, states_[0], states_[1], learning_rate, settings_.beta1, settings_.beta2,
                   settings_.eps, settings_.weight_decay, num_steps_, grad_scale);
  }
};
}  // namespace

std::unique_ptr<Optimizer> make_adamw(const OptimizerSettings& settings, Memory& memory, int64_t block_floats) {
  return std::make_unique<AdamW>(settings, memory, block_floats, num_optimizer_states("adamw"));
}

}  // namespace gleaner
