// Optimisers over the block of all parameters at once: they work element by element. Adding one: a file in optimizers/,
// a line in optimizers/optimizers.cc and a member in src/recipe/optimizers.ts.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "ops/ops.h"

namespace gleaner {

struct OptimizerSettings {
  std::string name;  // adamw | rmsprop
  double beta1 = 0.9;
  double beta2 = 0.999;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
};

/// State lies in blocks as large as the parameters'; all are zero at the start.
class Optimizer {
 public:
  Optimizer(OptimizerSettings settings, Memory& memory, int64_t block_floats, int num_states);
  virtual ~Optimizer() = default;
  /// values, gradients [1, block]; the gradient is multiplied by grad_scale (clipping) as it is read.
  virtual void step(Ops& ops, Tensor values, Tensor gradients, double learning_rate, double grad_scale) = 0;
  /// Zeroes moments and step count.
  void reset(Ops& ops);
  int64_t num_steps() const { return num_steps_; }
  void set_num_steps(int64_t steps) { num_steps_ = steps; }
  /// May be written to.
  std::vector<Tensor>& states() {
    lent_ = true;
    return states_;
  }
  const std::string& name() const { return settings_.name; }
  /// torch's name of each block of state.
  std::vector<std::string> state_names() const;

 protected:
  OptimizerSettings settings_;
  int64_t num_steps_ = 0;
  std::vector<Tensor> states_;

 private:
  Buffer buffer_;
  bool lent_ = false;  // states() was asked for: without a step, they may still not be zero
};

/// Blocks of state that an optimiser keeps; throws ERR_GLEANER_INTERNAL for an unknown name.
int num_optimizer_states(const std::string& name);
std::unique_ptr<Optimizer> make_optimizer(const OptimizerSettings& settings, Memory& memory, int64_t block_floats);

std::unique_ptr<Optimizer> make_adamw(const OptimizerSettings& settings, Memory& memory, int64_t block_floats);
std::unique_ptr<Optimizer> make_rmsprop(const OptimizerSettings& settings, Memory& memory, int64_t block_floats);

}  // namespace gleaner
