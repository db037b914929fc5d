// A small decoder in each of its shapes, and ids from a seed.
#pragma once
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "model/forest.h"
#include "model/spec.h"

namespace gleaner::test {

/// Two layers, grouped heads, rotary positions on half of each head.
inline DecoderSpec tiny_spec() {
  DecoderSpec spec;
  spec.vocab = 37;
  spec.hidden = 24;
  spec.layers = 2;
  spec.heads = 4;
  spec.kv_heads = 2;
  spec.head_dim = 8;
  spec.intermediate = 20;
  spec.rotary_dim = 4;
  spec.inverse_frequencies = {1, 0.01};
  spec.max_positions = 512;
  return spec;
}

struct NamedSpec {
  std::string name;
  DecoderSpec spec;
};

/// Every switch of the spec is on in one of them.
inline std::vector<NamedSpec> tiny_specs() {
  DecoderSpec neox = tiny_spec();
  neox.kv_heads = 4;
  neox.norm = NormKind::layer_norm;
  neox.mlp = MlpKind::gelu;
  neox.parallel_residual = neox.qkv_bias = neox.attention_output_bias = neox.mlp_bias = true;
  DecoderSpec sequential = neox;
  sequential.parallel_residual = false;
  DecoderSpec tied = tiny_spec();
  tied.tied_head = true;
  DecoderSpec window = tiny_spec();
  window.sliding_window = 5;
  window.layers = 3;
  DecoderSpec one_layer = tiny_spec();
  one_layer.layers = 1;
  return {{"llama", tiny_spec()}, {"neox", neox},     {"neox, sequential", sequential},
          {"tied head", tied},    {"window", window}, {"one layer", one_layer}};
}

inline std::vector<int32_t> random_ids(std::mt19937& random, int64_t count, int64_t vocab) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random() % static_cast<uint32_t>(vocab)));
  return ids;
}

}  // namespace gleaner::test
