// A sequence takes the pages of its whole life when it is admitted, so that none ever has to be thrown out.
#include "sample/scheduler.h"

#include <utility>

namespace gleaner {

std::span<Running> Scheduler::next_pass() {
  auto tokens = static_cast<int64_t>(running_.size());  // one each
  while (next_ < prompts_.size() && static_cast<int64_t>(running_.size()) < sizes_.batch_size) {
    const Prompt& prompt = prompts_[next_];
    Running sequence;
    sequence.prompt = static_cast<int32_t>(next_);
    const auto length = static_cast<int64_t>(prompt.ids.size());
    if (tokens + length > sizes_.pass_tokens && !running_.empty()) break;
    sequence.computed = cache_.take(prompt.ids, length + settings_.max_new_tokens, sequence.pages);
    if (sequence.computed < 0) break;
    sequence.next_ids.assign(prompt.ids.begin() + sequence.computed, prompt.ids.end());
    tokens += static_cast<int64_t>(sequence.next_ids.size());
    running_.push_back(std::move(sequence));
    ++next_;
  }
  return running_;
}

void Scheduler::retire(std::span<const uint8_t> finished) {
  size_t kept = 0;
  for (size_t i = 0; i < running_.size(); ++i) {
    if (finished[i] != 0) {
      cache_.give_back(running_[i].pages);
    } else {
      if (kept != i) running_[kept] = std::move(running_[i]);
      ++kept;
    }
  }
  running_.resize(kept);
}

}  // namespace gleaner
