// Setting an optimiser back: no pass over memory that nothing has written, and no value of before is left otherwise.
#include <doctest/doctest.h>

#include <algorithm>
#include <memory>

#include "learn/optimizer.h"

namespace gleaner::test {

TEST_CASE("reset zeroes what was stepped or written") {
  constexpr int64_t kFloats = 100;
  const std::unique_ptr<Ops> ops = make_ops({"cpu", "portable", 1});
  Memory memory;
  Buffer block = memory.allocate(Purpose::weights, 2 * kFloats * sizeof(float));
  const Tensor values = Tensor::f32(block.f32(), 1, kFloats);
  const Tensor gradients = Tensor::f32(block.f32() + kFloats, 1, kFloats);
  ops->fill(gradients, 1);
  for (const char* name : {"adamw", "rmsprop"}) {
    CAPTURE(name);
    OptimizerSettings settings;
    settings.name = name;
    const std::unique_ptr<Optimizer> optimizer = make_optimizer(settings, memory, kFloats);
    const auto all_zero = [&] {
      return std::all_of(optimizer->states().begin(), optimizer->states().end(), [](const Tensor& state) {
        return std::all_of(state.f32(), state.f32() + kFloats, [](float value) { return value == 0; });
      });
    };
    optimizer->step(*ops, values, gradients, 1e-3, 1);
    optimizer->reset(*ops);  // before anyone asked for the states: the step alone counts
    CHECK(optimizer->num_steps() == 0);
    CHECK(all_zero());

    optimizer->reset(*ops);
    ops->fill(optimizer->states().front(), 3);  // a state that was half loaded: no step is counted
    CHECK_FALSE(all_zero());
    optimizer->reset(*ops);
    CHECK(all_zero());

    optimizer->step(*ops, values, gradients, 1e-3, 1);
    CHECK_FALSE(all_zero());
  }
}

}  // namespace gleaner::test
