// Prompts → responses with continuous batching: a finished sequence's place is refilled at once. What a prompt gets
// depends on its ids, its sample_id and the seed alone, not on what else is in the batch.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/decoder.h"
#include "sample/kv_cache.h"

namespace gleaner {

enum class FinishReason : uint8_t { eos, stop, length };

struct Prompt {
  std::vector<int32_t> ids;
  uint64_t sample_id = 0;
};

struct GenerateSettings {
  int64_t max_new_tokens = 0;
  float temperature = 1;
  float top_p = 1;
  int32_t top_k = 0;
  uint64_t seed = 0;
  std::vector<int32_t> eos_ids;
  std::vector<int32_t> stop_ids;
  int64_t batch_size = 1;        // sequences decoded together
  int64_t max_length = 0;        // prompt + response, of the longest sequence
  int64_t prefill_tokens = 512;  // prompt tokens of one pass, or the longest prompt's
};

struct Response {
  std::vector<int32_t> ids;          // with the EOS or stop id that ended it
  std::vector<float> logprobs;       // under the distribution sampled from
  std::vector<float> full_logprobs;  // under temperature 1 and full support
  FinishReason finish_reason = FinishReason::length;
};

struct TokenEvent {
  int32_t prompt = 0;
  int32_t token = 0;
  int32_t position = 0;
};

struct GenerateCallbacks {
  std::function<void()> check_abort;                           // throws to end
  std::function<void(std::span<const TokenEvent>)> on_tokens;  // after each pass; may be empty
  std::function<bool(int32_t)> stopped;  // has the caller ended this prompt's response? may be empty
};

/// Sizes of a generate call, shared by the plan and the run.
struct SamplerSizes {
  int64_t pass_tokens = 0;  // most new tokens of a pass
  int64_t batch_size = 0;
  int64_t num_pages = 0;
  int64_t max_length = 0;
};
/// Throws ERR_GLEANER_DATA, naming the prompt, when one is empty, too long or holds an id outside the vocabulary.
void check_prompts(std::span<const Prompt> prompts, const GenerateSettings& settings, const DecoderSpec& spec);

SamplerSizes sampler_sizes(int64_t batch_size, int64_t max_length, int64_t prefill_tokens);

class Sampler {
 public:
  Sampler(Decoder& decoder, Ops& ops, Memory& memory) : decoder_(decoder), ops_(ops), memory_(memory) {}
  /// The prompts have passed check_prompts; the arena holds one pass's activations and logits (bytes from
  /// activation_bytes).
  std::vector<Response> generate(std::span<const Prompt> prompts, const GenerateSettings& settings, Arena arena,
                                 const GenerateCallbacks& callbacks);
  static size_t activation_bytes(const DecoderSpec& spec, const SamplerSizes& sizes);

 private:
  Decoder& decoder_;
  Ops& ops_;
  Memory& memory_;
};

}  // namespace gleaner
