// RMSProp, torch's form: no momentum, not centred.
#include "learn/optimizer.h"

namespace gleaner {

namespace {
class RmsProp final : public Optimizer {
 public:
  using Optimizer::Optimizer;
  void step(Ops& ops, Tensor values, Tensor gradients, double learning_rate, double grad_scale) override {
    ++num_steps_;
    ops.rmsprop_step(values, gradients, states_[0], learning_rate, settings_.alpha, settings_.eps,
                     settings_.weight_decay, grad_scale);
  }
};
}  // namespace

std::unique_ptr<Optimizer> make_rmsprop(const OptimizerSettings& settings, Memory& memory, int64_t block_floats) {
  return std::make_unique<RmsProp>(settings, memory, block_floats, num_optimizer_states("rmsprop"));
}

}  // namespace gleaner
