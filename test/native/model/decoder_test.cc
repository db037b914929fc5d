// The decoder's own arithmetic: rotary tables at far positions, and the layout that the memory plan counts.
#include "model/decoder.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "model/parameters.h"
#include "tiny.h"

namespace gleaner::test {
namespace {

/// Tokens at positions of one's own; keeps the queries that attention would have had.
class Recorded final : public AttentionContext {
 public:
  explicit Recorded(std::vector<int32_t> positions) : positions_(std::move(positions)) {
    for (size_t i = 0; i < positions_.size(); ++i) rows_.push_back(static_cast<int32_t>(i));
  }
  std::span<const int32_t> positions() const override { return positions_; }
  std::span<const int32_t> needed_rows() const override { return rows_; }
  std::span<const int32_t> needed_positions() const override { return positions_; }
  void attend(Ops& ops, int64_t layer, bool, const AttentionShape&, Tensor q, Tensor kv, Tensor out, Tensor) override {
    if (layer == 0) {
      queries.assign(q.f32(), q.f32() + q.size());
      keys.assign(kv.f32(), kv.f32() + kv.size());
    }
    ops.fill(out, 0);
  }
  std::vector<float> queries, keys;

 private:
  std::vector<int32_t> positions_, rows_;
};

TEST_CASE("rotary tables at position 100000 are fp64's, within 1e-5") {
  DecoderSpec spec = tiny_spec();
  spec.max_positions = 131'072;
  spec.rotary_dim = 8;
  spec.inverse_frequencies.clear();
  for (int i = 0; i < 4; ++i) spec.inverse_frequencies.push_back(std::pow(10000.0, -i / 4.0));
  const std::unique_ptr<Ops> ops = make_ops({.threads = 1});
  Memory memory;
  Parameters parameters(spec);
  parameters.allocate_values(memory);
  parameters.allocate_packed(memory, *ops, false);
  parameters.fill_random(1, 0.5);
  parameters.repack(*ops);
  Decoder decoder(spec, parameters, *ops);
  ops->reserve_workspace(
      memory, {.rows = 4, .cols = 64, .path_tokens = 16, .heads = 4, .head_dim = 8, .hidden = 24, .vocab = 37});
  decoder.reserve_positions(memory, 131'072);
  Arena counting;
  const Activations counted(spec, 4, 4, ActivationPolicy::none, counting);
  const Buffer block = memory.allocate(Purpose::activations, counting.high_water());
  const auto recorded = [&](std::vector<int32_t> positions) {
    Recorded context(std::move(positions));
    Arena arena(block.data(), block.bytes());
    Activations activations(spec, 4, 4, ActivationPolicy::none, arena);
    decoder.forward_cached(std::vector<int32_t>{5, 6, 7, 8}, context, activations);
    return context;
  };
  const Recorded still = recorded({0, 0, 0, 0});
  const std::vector<int32_t> positions{1, 99'999, 100'000, 131'071};
  const Recorded turned = recorded(positions);
  double largest = 0, largest_error = 0;
  const auto compare = [&](const std::vector<float>& from, const std::vector<float>& to, size_t heads, size_t width) {
    for (size_t row = 0; row < 4; ++row) {
      for (size_t head = 0; head < heads; ++head) {
        for (size_t i = 0; i < 4; ++i) {
          const double angle = positions[row] * spec.inverse_frequencies[i];
          const size_t at = row * width + head * 8 + i;
          const auto a = static_cast<double>(from[at]), b = static_cast<double>(from[at + 4]);
          largest = std::max({largest, std::abs(a), std::abs(b)});
          largest_error = std::max(largest_error,
                                   std::abs(static_cast<double>(to[at]) - (a * std::cos(angle) - b * std::sin(angle))));
          largest_error = std::max(
              largest_error, std::abs(static_cast<double>(to[at + 4]) - (b * std::cos(angle) + a * std::sin(angle))));
        }
      }
    }
  };
  compare(still.queries, turned.queries, 4, 32);
  compare(still.keys, turned.keys, 2, 32);  // keys, then values: the first half of a row
  CHECK(largest > 1);
  CHECK(largest_error < 1e-5);
}

TEST_CASE("fewer rows or a leaner policy never need more room") {
  for (const auto& [name, spec] : tiny_specs()) {
    CAPTURE(name);
    const auto bytes = [&](int64_t tokens, int64_t needed, ActivationPolicy policy) {
      Arena counting;
      const Activations activations(spec, tokens, needed, policy, counting);
      return counting.high_water();
    };
    for (const ActivationPolicy policy :
         {ActivationPolicy::none, ActivationPolicy::recompute, ActivationPolicy::keep}) {
      for (int64_t tokens = 1; tokens < 80; ++tokens) {
        CHECK(bytes(tokens, tokens, policy) <= bytes(tokens + 1, tokens + 1, policy));
        CHECK(bytes(tokens, (tokens + 1) / 2, policy) <= bytes(tokens, tokens, policy));
      }
    }
    CHECK(bytes(64, 64, ActivationPolicy::none) <= bytes(64, 64, ActivationPolicy::recompute));
    CHECK(bytes(64, 64, ActivationPolicy::recompute) <= bytes(64, 64, ActivationPolicy::keep));
  }
}

}  // namespace
}  // namespace gleaner::test
