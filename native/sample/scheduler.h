// Which sequences run now: admits waiting prompts into free places, in order, while pages and a pass's tokens last.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "sample/sampler.h"

namespace gleaner {

/// A sequence that holds pages.
struct Running {
  int32_t prompt = 0;  // index into the prompts
  std::vector<int32_t> pages;
  int64_t computed = 0;           // leading positions whose keys and values are in the cache
  std::vector<int32_t> next_ids;  // to be computed in the next pass: the rest of the prompt, or the last token
};

class Scheduler {
 public:
  Scheduler(std::span<const Prompt> prompts, const GenerateSettings& settings, const SamplerSizes& sizes,
            KvCache& cache)
      : prompts_(prompts), settings_(settings), sizes_(sizes), cache_(cache) {}

  bool done() const { return running_.empty() && next_ == prompts_.size(); }
  /// The sequences of the next pass, at most sizes.pass_tokens new tokens: those decoding, then newly admitted prompts.
  std::span<Running> next_pass();
  /// Takes finished sequences out (finished[i] belongs to running i) and gives their pages back.
  void retire(std::span<const uint8_t> finished);

 private:
  std::span<const Prompt> prompts_;
  const GenerateSettings& settings_;
  const SamplerSizes& sizes_;
  KvCache& cache_;
  std::vector<Running> running_;
  size_t next_ = 0;  // first prompt not yet admitted
};

}  // namespace gleaner
