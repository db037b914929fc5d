// Continuous batching: prompts enter in order as places, tokens and pages allow, and a freed place is filled in the
// next pass.
#include "sample/scheduler.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "base/error.h"
#include "tiny.h"

namespace gleaner::test {
namespace {

std::vector<Prompt> prompts_of(const std::vector<int64_t>& lengths) {
  std::vector<Prompt> prompts;
  for (const int64_t length : lengths) {
    const auto first = static_cast<int32_t>(100 * prompts.size());  // nothing is shared
    std::vector<int32_t> ids(static_cast<size_t>(length));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = first + static_cast<int32_t>(i);
    prompts.push_back({.ids = ids, .sample_id = prompts.size()});
  }
  return prompts;
}

GenerateSettings up_to(int64_t max_new_tokens) {
  GenerateSettings settings;
  settings.max_new_tokens = max_new_tokens;
  settings.max_length = 600;
  return settings;
}

std::vector<int32_t> indices(std::span<const Running> running) {
  std::vector<int32_t> result;
  for (const Running& sequence : running) result.push_back(sequence.prompt);
  return result;
}

/// As the sampler does after a pass.
void advance(std::span<Running> running) {
  for (Running& sequence : running) {
    sequence.computed += static_cast<int64_t>(sequence.next_ids.size());
    sequence.next_ids.assign(1, 7);
  }
}

TEST_CASE("places are filled in order, and refilled as soon as they are free") {
  Memory memory;
  const std::vector<Prompt> prompts = prompts_of({3, 4, 5, 6, 7});
  const GenerateSettings settings = up_to(10);
  const SamplerSizes sizes = sampler_sizes(2, 17, 100);
  KvCache cache(tiny_spec(), sizes.num_pages, memory);
  Scheduler scheduler(prompts, settings, sizes, cache);
  CHECK(!scheduler.done());
  std::span<Running> running = scheduler.next_pass();
  CHECK(indices(running) == std::vector<int32_t>{0, 1});
  CHECK(running[1].next_ids == prompts[1].ids);
  CHECK(running[1].computed == 0);
  advance(running);
  scheduler.retire(std::vector<uint8_t>{1, 0});
  running = scheduler.next_pass();
  CHECK(indices(running) == std::vector<int32_t>{1, 2});
  CHECK(running[0].next_ids == std::vector<int32_t>{7});
  CHECK(running[0].computed == 4);
  advance(running);
  scheduler.retire(std::vector<uint8_t>{1, 1});
  CHECK(indices(scheduler.next_pass()) == std::vector<int32_t>{3, 4});
  scheduler.retire(std::vector<uint8_t>{1, 1});
  CHECK(scheduler.done());
  CHECK(cache.num_free() == sizes.num_pages);
}

TEST_CASE("a pass holds no more tokens than planned, but always at least one prompt") {
  Memory memory;
  const std::vector<Prompt> prompts = prompts_of({20, 20, 20, 60, 1});
  const GenerateSettings settings = up_to(4);
  const SamplerSizes sizes = sampler_sizes(4, 64, 30);
  CHECK(sizes.pass_tokens == 68);
  KvCache cache(tiny_spec(), sizes.num_pages, memory);
  Scheduler scheduler(prompts, settings, sizes, cache);
  std::span<Running> running = scheduler.next_pass();
  CHECK(indices(running) == std::vector<int32_t>{0, 1, 2});  // 60 more would be 120
  advance(running);
  scheduler.retire(std::vector<uint8_t>{0, 0, 0});
  running = scheduler.next_pass();
  CHECK(indices(running) == std::vector<int32_t>{0, 1, 2, 3});  // 3 + 60
}

TEST_CASE("random lengths: every prompt runs once, within the limits, and all pages come back") {
  std::mt19937 random(2);
  for (int repeat = 0; repeat < 100; ++repeat) {
    std::vector<int64_t> lengths;
    for (uint32_t i = 0; i < 1 + random() % 30; ++i) lengths.push_back(1 + random() % 90);
    const std::vector<Prompt> prompts = prompts_of(lengths);
    const GenerateSettings settings = up_to(10);
    const SamplerSizes sizes =
        sampler_sizes(1 + random() % 6, *std::max_element(lengths.begin(), lengths.end()) + 10, 1 + random() % 100);
    Memory memory;
    KvCache cache(tiny_spec(), sizes.num_pages, memory);
    Scheduler scheduler(prompts, settings, sizes, cache);
    std::vector<int> passes(prompts.size());
    while (!scheduler.done()) {
      const std::span<Running> running = scheduler.next_pass();
      REQUIRE(!running.empty());
      REQUIRE(static_cast<int64_t>(running.size()) <= sizes.batch_size);
      int64_t tokens = 0;
      std::vector<uint8_t> finished;
      for (const Running& sequence : running) {
        tokens += static_cast<int64_t>(sequence.next_ids.size());
        finished.push_back(++passes[static_cast<size_t>(sequence.prompt)] == 10 || random() % 5 == 0 ? 1 : 0);
      }
      REQUIRE(tokens <= sizes.pass_tokens);
      advance(running);
      scheduler.retire(finished);
    }
    CHECK(*std::min_element(passes.begin(), passes.end()) > 0);
    CHECK(cache.num_free() == sizes.num_pages);
  }
}

TEST_CASE("prompts are checked before anything runs") {
  const DecoderSpec spec = tiny_spec();
  const GenerateSettings settings = up_to(10);
  const auto check = [&](std::vector<int32_t> ids) {
    check_prompts(std::vector<Prompt>{{.ids = std::move(ids), .sample_id = 0}}, settings, spec);
  };
  CHECK_NOTHROW(check(std::vector<int32_t>(502, 36)));
  CHECK_THROWS_AS(check({}), Error);
  CHECK_THROWS_AS(check(std::vector<int32_t>(503, 36)), Error);
  CHECK_THROWS_AS(check({1, 37}), Error);
  CHECK_THROWS_AS(check({-1}), Error);
}

}  // namespace
}  // namespace gleaner::test
