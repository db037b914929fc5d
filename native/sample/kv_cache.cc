// Pages are counted by their users; a shared one leaves the index with its last user.
#include "sample/kv_cache.h"

#include <algorithm>

namespace gleaner {

size_t KvCache::bytes(const DecoderSpec& spec, int64_t num_pages) {
  return float_bytes(num_pages, 2 * spec.layers * kPageSize * spec.kv_heads * spec.head_dim);
}

KvCache::KvCache(const DecoderSpec& spec, int64_t num_pages, Memory& memory)
    : buffer_(memory.allocate(Purpose::kv_cache, bytes(spec, num_pages))),
      users_(static_cast<size_t>(num_pages)),
      key_of_(static_cast<size_t>(num_pages)) {
  const int64_t slots = num_pages * kPageSize;
  const int64_t width = spec.kv_heads * spec.head_dim;
  for (int64_t layer = 0; layer < spec.layers; ++layer) {
    keys_.push_back(Tensor::f32(buffer_.f32() + 2 * layer * slots * width, slots, width));
    values_.push_back(Tensor::f32(buffer_.f32() + (2 * layer + 1) * slots * width, slots, width));
  }
  for (int64_t page = num_pages; page-- > 0;) free_.push_back(static_cast<int32_t>(page));
}

int64_t KvCache::take(std::span<const int32_t> prompt, int64_t max_positions, std::vector<int32_t>& pages) {
  const auto prompt_length = static_cast<int64_t>(prompt.size());
  const int64_t shareable = (prompt_length - 1) / kPageSize;
  const auto tokens_of = [&](int64_t page) {
    const auto first = prompt.begin() + page * kPageSize;
    return std::vector<int32_t>(first, first + kPageSize);
  };
  pages.clear();
  while (static_cast<int64_t>(pages.size()) < shareable) {
    const auto found = shared_.find({pages.empty() ? -1 : pages.back(), tokens_of(static_cast<int64_t>(pages.size()))});
    if (found == shared_.end()) break;
    pages.push_back(found->second);
  }
  const auto num_shared = static_cast<int64_t>(pages.size());
  const int64_t num_pages = pages_for(max_positions);
  if (num_pages - num_shared > num_free()) {
    pages.clear();
    return -1;
  }
  while (static_cast<int64_t>(pages.size()) < num_pages) {
    const int32_t page = free_.back();
    free_.pop_back();
    const auto index = static_cast<int64_t>(pages.size());
    if (index < shareable) {
      const auto [place, inserted] =
          shared_.emplace(PrefixKey{pages.empty() ? -1 : pages.back(), tokens_of(index)}, page);
      if (inserted) key_of_[static_cast<size_t>(page)] = &place->first;
    }
    pages.push_back(page);
  }
  for (const int32_t page : pages) ++users_[static_cast<size_t>(page)];
  return num_shared * kPageSize;
}

void KvCache::give_back(std::vector<int32_t>& pages) {
  // Last page first: a page leaves the index before the one that its key names.
  for (size_t i = pages.size(); i-- > 0;) {
    const auto page = static_cast<size_t>(pages[i]);
    if (--users_[page] > 0) continue;
    if (key_of_[page] != nullptr) {
      shared_.erase(shared_.find(*key_of_[page]));
      key_of_[page] = nullptr;
    }
    free_.push_back(pages[i]);
  }
  pages.clear();
}

}  // namespace gleaner
