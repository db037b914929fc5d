// What a decoder computes, as numbers and switches. src/models fills it from config.json; one native decoder obeys it.
#pragma once
#include <cstdint>
#include <vector>

namespace gleaner {

enum class NormKind : uint8_t { layer_norm, rms_norm };
enum class MlpKind : uint8_t { gelu, swiglu };

struct DecoderSpec {
  int64_t vocab = 0;
  int64_t hidden = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t intermediate = 0;
  NormKind norm = NormKind::rms_norm;
  double norm_eps = 1e-5;
  MlpKind mlp = MlpKind::swiglu;
  bool parallel_residual = false;  // x + attention(norm(x)) + mlp(norm(x)) instead of one after the other
  bool qkv_bias = false;
  bool attention_output_bias = false;
  bool mlp_bias = false;
  bool tied_head = false;
  int64_t rotary_dim = 0;                   // of head_dim; even
  std::vector<double> inverse_frequencies;  // [rotary_dim / 2], rope scaling included
  int64_t sliding_window = 0;               // 0: none
  int64_t max_positions = 0;                // rope tables reach this far
};

}  // namespace gleaner
