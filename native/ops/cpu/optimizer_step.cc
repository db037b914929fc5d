// Scalars are worked out in fp64 and rounded once, as torch's single-tensor steps do.
#include "ops/cpu/optimizer_step.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "ops/cpu/loops.h"
#include "ops/cpu/parallel_rows.h"

namespace gleaner::cpu {

double sum_of_squares(ThreadPool& pool, Isa isa, Tensor x) {
  constexpr int64_t kMaxChunks = 1024;  // partial sums fit the stack
  constexpr int64_t kMinChunk = 16 * 1024;
  const Loops& loop = loops(isa);
  std::array<double, kMaxChunks> partial;
  const int64_t chunk_size = std::max(kMinChunk, (x.size() + kMaxChunks - 1) / kMaxChunks);
  const int64_t chunks = (x.size() + chunk_size - 1) / chunk_size;
  pool.run(chunks, [&](int64_t chunk) {
    const int64_t begin = chunk * chunk_size;
    partial[static_cast<size_t>(chunk)] = loop.sum_of_squares(x.f32() + begin, std::min(chunk_size, x.size() - begin));
  });
  double sum = 0;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[static_cast<size_t>(chunk)];
  return sum;
}

void adamw_step(ThreadPool& pool, Isa isa, Tensor weight, Tensor gradient, Tensor exp_avg, Tensor exp_avg_sq,
                const AdamWSettings& settings) {
  const Loops& loop = loops(isa);
  const auto step = static_cast<double>(settings.step);
  const AdamWStep scalars{
      .decay = static_cast<float>(1 - settings.learning_rate * settings.weight_decay),
      .beta1_rest = static_cast<float>(1 - settings.beta1),
      .beta2 = static_cast<float>(settings.beta2),
      .beta2_rest = static_cast<float>(1 - settings.beta2),
      .root_bias2 = static_cast<float>(std::sqrt(1 - std::pow(settings.beta2, step))),
      .eps = static_cast<float>(settings.eps),
      .step_size = static_cast<float>(settings.learning_rate / (1 - std::pow(settings.beta1, step))),
      .grad_scale = static_cast<float>(settings.grad_scale)};
  for_ranges(pool, weight.size(), 1, [&](int64_t begin, int64_t end) {
    loop.adamw(weight.f32() + begin, gradient.f32() + begin, exp_avg.f32() + begin, exp_avg_sq.f32() + begin,
               end - begin, scalars);
  });
}

void rmsprop_step(ThreadPool& pool, Isa isa, Tensor weight, Tensor gradient, Tensor square_avg,
                  const RmsPropSettings& settings) {
  const Loops& loop = loops(isa);
  const RmsPropStep scalars{.alpha = static_cast<float>(settings.alpha),
                            .alpha_rest = static_cast<float>(1 - settings.alpha),
                            .eps = static_cast<float>(settings.eps),
                            .learning_rate = static_cast<float>(settings.learning_rate),
                            .weight_decay = static_cast<float>(settings.weight_decay),
                            .grad_scale = static_cast<float>(settings.grad_scale)};
  for_ranges(pool, weight.size(), 1, [&](int64_t begin, int64_t end) {
    loop.rmsprop(weight.f32() + begin, gradient.f32() + begin, square_avg.f32() + begin, end - begin, scalars);
  });
}

}  // namespace gleaner::cpu
