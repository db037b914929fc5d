// The list of optimisers and what they share.
#include <utility>

#include "base/error.h"
#include "learn/optimizer.h"

namespace gleaner {

namespace {
struct Entry {
  const char* name;
  std::vector<std::string> states;  // as torch calls them
  std::unique_ptr<Optimizer> (*make)(const OptimizerSettings&, Memory&, int64_t);
};

const Entry& entry(const std::string& name) {
  static const Entry optimizers[] = {{"adamw", {"exp_avg", "exp_avg_sq"}, make_adamw},
                                     {"rmsprop", {"square_avg"}, make_rmsprop}};
  for (const Entry& candidate : optimizers) {
    if (name == candidate.name) return candidate;
  }
  throw Error("ERR_GLEANER_INTERNAL", "there is no optimizer named " + name);
}
}  // namespace

Optimizer::Optimizer(OptimizerSettings settings, Memory& memory, int64_t block_floats, int num_states)
    : settings_(std::move(settings)) {
  buffer_ = memory.allocate(Purpose::optimizer, static_cast<size_t>(block_floats * num_states) * sizeof(float));
  for (int i = 0; i < num_states; ++i)
    states_.push_back(Tensor::f32(buffer_.f32() + i * block_floats, 1, block_floats));
}

void Optimizer::reset(Ops& ops) {
  if (num_steps_ == 0 && !lent_) return;  // zeros whose pages nothing has touched: writing them would make each fault
  for (const Tensor& state : states_) ops.fill(state, 0);
  num_steps_ = 0;
  lent_ = false;
}

std::vector<std::string> Optimizer::state_names() const { return entry(settings_.name).states; }

int num_optimizer_states(const std::string& name) { return static_cast<int>(entry(name).states.size()); }

std::unique_ptr<Optimizer> make_optimizer(const OptimizerSettings& settings, Memory& memory, int64_t block_floats) {
  return entry(settings.name).make(settings, memory, block_floats);
}

}  // namespace gleaner
