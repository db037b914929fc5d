// Keys and values of running sequences, in pages of a fixed number of positions. Full pages of equal prefixes are
// shared: a page is found again by the page before it and the tokens that it holds.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/memory.h"
#include "model/spec.h"

namespace gleaner {

constexpr int64_t kPageSize = 16;  // positions

/// Pages that hold `positions`.
constexpr int64_t pages_for(int64_t positions) { return (positions + kPageSize - 1) / kPageSize; }

class KvCache {
 public:
  KvCache(const DecoderSpec& spec, int64_t num_pages, Memory& memory);
  static size_t bytes(const DecoderSpec& spec, int64_t num_pages);

  /// [pages * page_size, kv_heads * head_dim] of a layer.
  Tensor keys(int64_t layer) const { return keys_[static_cast<size_t>(layer)]; }
  Tensor values(int64_t layer) const { return values_[static_cast<size_t>(layer)]; }

  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }

  /// The pages of a sequence's whole life. Returns how many leading positions are in shared pages (always fewer than
  /// the prompt's, so that its last row is computed), or -1, with nothing taken, when there are not enough free pages.
  int64_t take(std::span<const int32_t> prompt, int64_t max_positions, std::vector<int32_t>& pages);
  void give_back(std::vector<int32_t>& pages);

 private:
  using PrefixKey = std::pair<int32_t, std::vector<int32_t>>;  // page before (-1: none), tokens of the page
  std::vector<Tensor> keys_, values_;
  Buffer buffer_;
  std::vector<int32_t> free_;
  std::vector<int32_t> users_;  // per page
  std::map<PrefixKey, int32_t> shared_;
  std::vector<const PrefixKey*> key_of_;  // per page; null: not shareable
};

}  // namespace gleaner
