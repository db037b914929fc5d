// One loaded model without Node: gradients by finite differences, the plan against the peak, refusals and aborts that
// leave it usable.
#include "engine/engine.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/error.h"
#include "tiny.h"

namespace gleaner::test {
namespace {

constexpr int64_t kBudget = 64;

Engine engine_of(const DecoderSpec& spec, size_t limit = 0, int threads = 2) {
  return Engine({.spec = spec, .ops = {.threads = threads}, .memory_limit_bytes = limit});
}

/// A prompt with two responses and a tree beside it; a target at every row but the last of each leaf.
MicroBatch two_trees(uint32_t seed) {
  std::mt19937 random(seed);
  MicroBatch batch{.ids = random_ids(random, 25, 37),
                   .forest = make_forest(std::vector<SegmentSpec>{{6, -1}, {5, 0}, {7, 0}, {4, -1}, {3, 3}}),
                   .targets = {},
                   .sequences = {{0, 6}, {6, 8}, {14, 4}},
                   .pairs = {{0, 1, -20, -30}}};
  const auto add = [&](std::vector<int32_t> rows) {
    for (const int32_t row : rows) batch.targets.push_back({row, static_cast<int32_t>(random() % 37)});
  };
  add({5, 6, 7, 8, 9, 10});
  add({5, 11, 12, 13, 14, 15, 16, 17});
  add({21, 22, 23, 24});
  return batch;
}

const ObjectiveSettings kPair{
    .name = "pair", .loss = "logistic", .beta = 0.3, .nll_weight = 0.5, .denominator = 1, .nll_denominator = 6};
const ObjectiveSettings kSft{.name = "sft", .loss = "", .denominator = 18};
const StepSettings kStep{.learning_rate = 1e-2, .max_grad_norm = 1};
void never() {}
const GenerateCallbacks kQuiet{.check_abort = never, .on_tokens = {}, .stopped = {}};

GenerateSettings settings_of(int64_t max_new_tokens, int64_t batch_size, int64_t max_length, int64_t prefill_tokens) {
  GenerateSettings settings;
  settings.max_new_tokens = max_new_tokens;
  settings.batch_size = batch_size;
  settings.max_length = max_length;
  settings.prefill_tokens = prefill_tokens;
  return settings;
}

void fill_random(Engine& engine) {
  engine.fill_random(3, 0.4);
  std::mt19937 random(4);  // biases and norms as well
  for (Parameter& parameter : engine.parameters().all()) {
    if (parameter.rows > 1) continue;
    std::vector<float> values = engine.read(parameter.name, false);
    for (float& value : values) value += 0.3F * static_cast<float>(std::normal_distribution<double>()(random));
    engine.write(parameter.name, values);
  }
}

/// fp32 losses to 1e-6 over steps of 1e-2: 1e-3 of a slope near 1.
TEST_CASE("gradients of the whole model are finite differences of its loss, in every shape") {
  for (const auto& [name, spec] : tiny_specs()) {
    for (const ActivationPolicy policy : {ActivationPolicy::keep, ActivationPolicy::recompute}) {
      for (const ObjectiveSettings& objective : {kSft, kPair}) {
        CAPTURE(name);
        CAPTURE(objective.name);
        Engine engine = engine_of(spec);
        fill_random(engine);
        engine.prepare_training(
            {.optimizer = "adamw", .activations = policy, .micro_batch_tokens = kBudget, .max_length = 32},
            {.name = "adamw"});
        const std::vector<MicroBatch> batches{two_trees(1)};
        const auto loss = [&] {
          const double value = engine.accumulate(batches, objective, never).loss;
          engine.clear_gradients();
          return value;
        };
        engine.accumulate(batches, objective, never);
        std::vector<std::vector<float>> gradients;
        for (const Parameter& parameter : engine.parameters().all())
          gradients.push_back(engine.read(parameter.name, true));
        engine.clear_gradients();
        for (size_t p = 0; p < gradients.size(); ++p) {
          const std::string parameter = engine.parameters().all()[p].name;
          CAPTURE(parameter);
          const std::vector<float> values = engine.read(parameter, false);
          double norm = 0;
          for (const float value : gradients[p]) norm += static_cast<double>(value) * static_cast<double>(value);
          norm = std::sqrt(norm);
          REQUIRE(norm > 1e-4);
          // Along the gradient the slope is its norm.
          constexpr double kAlong = 4e-3;
          const auto moved = [&](double by) {
            std::vector<float> there = values;
            for (size_t i = 0; i < there.size(); ++i)
              there[i] += static_cast<float>(by * static_cast<double>(gradients[p][i]) / norm);
            engine.write(parameter, there);
            return loss();
          };
          const double slope =
              (8 * (moved(kAlong) - moved(-kAlong)) - (moved(2 * kAlong) - moved(-2 * kAlong))) / (12 * kAlong);
          engine.write(parameter, values);
          CHECK(std::abs(slope - norm) < 2e-3 * norm + 5e-4);
        }
      }
    }
  }
}

TEST_CASE("the plan is the peak: training, then generation") {
  for (const auto& [name, spec] : tiny_specs()) {
    for (const ActivationPolicy policy : {ActivationPolicy::keep, ActivationPolicy::recompute}) {
      for (const char* optimizer : {"adamw", "rmsprop"}) {
        CAPTURE(name);
        Engine engine = engine_of(spec);
        const TrainingSettings training{
            .optimizer = optimizer, .activations = policy, .micro_batch_tokens = kBudget, .max_length = 32};
        const PlanRequest request{.training = true,
                                  .train = training,
                                  .generation = true,
                                  .generate = {.batch_size = 3, .max_length = 40, .prefill_tokens = 50}};
        const MemoryPlan plan = plan_memory(spec, request, engine.ops());
        engine.prepare_training(training, {.name = optimizer});
        engine.update(std::vector<MicroBatch>{two_trees(1)}, kSft, kStep, never);
        std::vector<Prompt> prompts;
        for (uint64_t i = 0; i < 5; ++i) prompts.push_back({.ids = std::vector<int32_t>(30, 1), .sample_id = i});
        const GenerateSettings settings = settings_of(10, 3, 40, 50);
        const std::vector<Response> responses = engine.generate(prompts, settings, kQuiet);
        CHECK(responses[4].ids.size() == 10);
        CHECK(engine.memory().peak_bytes() == plan.total());
        for (size_t purpose = 0; purpose < kNumPurposes; ++purpose) {
          if (static_cast<Purpose>(purpose) == Purpose::kv_cache) continue;  // gone with its call
          CHECK(engine.memory().bytes_of(static_cast<Purpose>(purpose)) == plan.bytes[purpose]);
        }
      }
    }
  }
}

TEST_CASE("a limit of the plan is enough; below it training is refused, and the model computes as before") {
  const DecoderSpec spec = tiny_spec();
  const TrainingSettings training{
      .optimizer = "adamw", .activations = ActivationPolicy::keep, .micro_batch_tokens = 256, .max_length = 32};
  Engine free = engine_of(spec);
  fill_random(free);
  const std::vector<float> wanted = free.score(two_trees(1), false).logprobs;
  const size_t least = free.memory().peak_bytes();
  const size_t all =
      plan_memory(spec, {.training = true, .train = training, .generation = false, .generate = {}}, free.ops()).total();
  for (size_t limit = least; limit < all; limit += 9'000) {
    CAPTURE(limit);
    Engine engine = engine_of(spec, limit);
    fill_random(engine);
    CHECK_THROWS_AS(engine.prepare_training(training, {.name = "adamw"}), Error);
    CHECK(engine.score(two_trees(1), false).logprobs == wanted);
    CHECK_THROWS_AS(engine.update(std::vector<MicroBatch>{two_trees(1)}, kSft, kStep, never), Error);
    CHECK(engine.memory().peak_bytes() <= limit);
  }
  Engine enough = engine_of(spec, all);
  fill_random(enough);
  enough.prepare_training(training, {.name = "adamw"});
  CHECK(!enough.update(std::vector<MicroBatch>{two_trees(1)}, kSft, kStep, never).skipped);
}

TEST_CASE("rope tables that do not fit are refused, and those in use stay") {
  DecoderSpec spec = tiny_spec();
  spec.max_positions = 1 << 20;
  Engine engine = engine_of(spec, 4'000'000);
  fill_random(engine);
  const std::vector<float> wanted = engine.score(two_trees(1), false).logprobs;
  const std::vector<Prompt> prompts{{.ids = {1, 2, 3}, .sample_id = 0}};
  const GenerateSettings settings = settings_of(1'000'000, 1, 1'000'003, 50);
  CHECK_THROWS_AS(engine.generate(prompts, settings, kQuiet), Error);
  CHECK(engine.score(two_trees(1), false).logprobs == wanted);
}

TEST_CASE("an abort between micro-batches leaves no gradient, no step") {
  Engine engine = engine_of(tiny_spec());
  fill_random(engine);
  engine.prepare_training(
      {.optimizer = "adamw", .activations = ActivationPolicy::keep, .micro_batch_tokens = kBudget, .max_length = 32},
      {.name = "adamw"});
  const std::vector<float> before = engine.read("head.weight", false);
  int calls = 0;
  const auto third = [&calls] {
    if (++calls == 3) throw Aborted();
  };
  const std::vector<MicroBatch> batches{two_trees(1), two_trees(2), two_trees(3)};
  CHECK_THROWS_AS(engine.update(batches, kSft, kStep, third), Aborted);
  for (const Parameter& parameter : engine.parameters().all()) {
    for (const float value : engine.read(parameter.name, true)) REQUIRE(value == 0);
  }
  CHECK(engine.read("head.weight", false) == before);
}

TEST_CASE("forward and backward apart equal one update; a score in between is noticed") {
  const auto trained = [](bool apart) {
    Engine engine = engine_of(tiny_spec());
    fill_random(engine);
    engine.prepare_training(
        {.optimizer = "adamw", .activations = ActivationPolicy::keep, .micro_batch_tokens = kBudget, .max_length = 32},
        {.name = "adamw", .eps = 1e-3});
    const std::vector<MicroBatch> batches{two_trees(1), two_trees(2)};
    if (!apart) {
      engine.update(batches, kSft, kStep, never);
    } else {
      for (const MicroBatch& batch : batches) {
        const std::vector<float> logprobs = engine.forward(batch);
        engine.backward(std::vector<float>(logprobs.size(), -1.0F / 18));
      }
      engine.step(1, kStep);
    }
    return engine.read("layers.0.mlp.up.weight", false);
  };
  const std::vector<float> together = trained(false), apart = trained(true);
  for (size_t i = 0; i < together.size(); ++i) CHECK(std::abs(together[i] - apart[i]) < 1e-6F);

  Engine engine = engine_of(tiny_spec());
  engine.prepare_training(
      {.optimizer = "adamw", .activations = ActivationPolicy::keep, .micro_batch_tokens = kBudget, .max_length = 32},
      {.name = "adamw"});
  const size_t count = engine.forward(two_trees(1)).size();
  CHECK_THROWS_AS(engine.backward(std::vector<float>(count + 1)), Error);
  engine.score(two_trees(2), false);
  CHECK_THROWS_AS(engine.backward(std::vector<float>(count)), Error);
}

TEST_CASE("the same bits on any number of threads") {
  std::vector<float> expected;
  for (const int threads : {1, 2, 5}) {
    Engine engine = engine_of(tiny_spec(), 0, threads);
    fill_random(engine);
    engine.prepare_training({.optimizer = "rmsprop",
                             .activations = ActivationPolicy::recompute,
                             .micro_batch_tokens = kBudget,
                             .max_length = 32},
                            {.name = "rmsprop"});
    for (uint32_t step = 0; step < 3; ++step)
      engine.update(std::vector<MicroBatch>{two_trees(step), two_trees(step + 9)}, kPair, kStep, never);
    const std::vector<float> found = engine.read("layers.1.attention.kv.weight", false);
    if (threads == 1) expected = found;
    CHECK(found == expected);
  }
}

}  // namespace
}  // namespace gleaner::test
