// Pages: what is taken is given back, equal prefixes share whole pages, and nothing else does.
#include "sample/kv_cache.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "tiny.h"

namespace gleaner::test {
namespace {

std::vector<int32_t> counted(int64_t length, int32_t first = 0) {
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (int64_t i = 0; i < length; ++i) ids[static_cast<size_t>(i)] = first + static_cast<int32_t>(i);
  return ids;
}

TEST_CASE("tensors of a layer lie side by side and are counted as planned") {
  Memory memory;
  const DecoderSpec spec = tiny_spec();
  const KvCache cache(spec, 5, memory);
  CHECK(memory.bytes_of(Purpose::kv_cache) == KvCache::bytes(spec, 5));
  CHECK(cache.keys(0).rows == 5 * kPageSize);
  CHECK(cache.keys(0).cols == 16);
  CHECK(cache.values(0).f32() == cache.keys(0).f32() + cache.keys(0).size());
  CHECK(cache.values(1).f32() + cache.values(1).size() ==
        cache.keys(0).f32() + KvCache::bytes(spec, 5) / sizeof(float));
}

TEST_CASE("pages of a whole life are taken, or none") {
  Memory memory;
  KvCache cache(tiny_spec(), 4, memory);
  std::vector<int32_t> a, b, c;
  CHECK(cache.take(counted(3), 17, a) == 0);
  CHECK(a.size() == 2);
  CHECK(cache.num_free() == 2);
  CHECK(cache.take(counted(3, 50), 33, b) == -1);
  CHECK(b.empty());
  CHECK(cache.num_free() == 2);
  CHECK(cache.take(counted(3, 50), 32, b) == 0);
  CHECK(cache.num_free() == 0);
  CHECK(cache.take(counted(1), 1, c) == -1);
  cache.give_back(a);
  CHECK(a.empty());
  CHECK(cache.num_free() == 2);
  cache.give_back(b);
  CHECK(cache.num_free() == 4);
}

TEST_CASE("equal prefixes share whole pages, and the last row is always computed") {
  Memory memory;
  KvCache cache(tiny_spec(), 40, memory);
  std::vector<int32_t> first, pages;
  CHECK(cache.take(counted(40), 50, first) == 0);
  const auto shared_with = [&](const std::vector<int32_t>& prompt) {
    const int64_t shared = cache.take(prompt, static_cast<int64_t>(prompt.size()) + 10, pages);
    for (int64_t page = 0; page < pages_for(static_cast<int64_t>(prompt.size()) + 10); ++page) {
      const bool same = page < static_cast<int64_t>(first.size()) &&
                        pages[static_cast<size_t>(page)] == first[static_cast<size_t>(page)];
      CHECK(same == (page < shared / kPageSize));
    }
    cache.give_back(pages);
    return shared;
  };
  CHECK(shared_with(counted(40)) == 32);
  CHECK(shared_with(counted(33)) == 32);
  CHECK(shared_with(counted(32)) == 16);  // its last row is in the second page
  CHECK(shared_with(counted(17)) == 16);
  CHECK(shared_with(counted(16)) == 0);
  CHECK(shared_with(counted(200)) == 32);  // the third page of the first holds tokens that are not its prompt's
  CHECK(shared_with(counted(40, 1)) == 0);
  std::vector<int32_t> fork = counted(40);
  fork[20] = 99;
  CHECK(shared_with(fork) == 16);
  std::vector<int32_t> other_beginning = counted(40);
  other_beginning[3] = 99;
  CHECK(shared_with(other_beginning) == 0);  // its second page holds the first's tokens, after others
  cache.give_back(first);
  CHECK(shared_with(counted(40)) == 0);  // with its last user a page leaves the index
  CHECK(cache.num_free() == 40);
}

TEST_CASE("a shared page lives as long as one of its users") {
  Memory memory;
  KvCache cache(tiny_spec(), 12, memory);
  std::vector<int32_t> a, b, c;
  cache.take(counted(40), 48, a);
  CHECK(cache.take(counted(36), 48, b) == 32);
  CHECK(cache.num_free() == 12 - 4);
  cache.give_back(a);
  CHECK(cache.num_free() == 12 - 3);
  CHECK(cache.take(counted(40), 48, c) == 32);
  CHECK(c[0] == b[0]);
  cache.give_back(b);
  cache.give_back(c);
  CHECK(cache.num_free() == 12);
}

TEST_CASE("random lives: no page is lost or held twice, and shared pages hold the same path") {
  std::mt19937 random(5);
  Memory memory;
  constexpr int64_t kPages = 30;
  KvCache cache(tiny_spec(), kPages, memory);
  struct Life {
    std::vector<int32_t> prompt, pages;
  };
  std::vector<Life> lives;
  std::vector<std::vector<int32_t>> prefixes;
  for (int i = 0; i < 4; ++i) prefixes.push_back(random_ids(random, 70, 2));
  int refused = 0, shared = 0;
  for (int repeat = 0; repeat < 3000; ++repeat) {
    if (random() % 2 == 0 && !lives.empty()) {
      const size_t at = random() % lives.size();
      cache.give_back(lives[at].pages);
      lives.erase(lives.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      const std::vector<int32_t>& prefix = prefixes[random() % 4];
      Life life{.prompt = {prefix.begin(), prefix.begin() + 1 + static_cast<std::ptrdiff_t>(random() % 70)},
                .pages = {}};
      for (const int32_t id : random_ids(random, random() % 20, 2)) life.prompt.push_back(id);
      const auto length = static_cast<int64_t>(life.prompt.size());
      const int64_t found = cache.take(life.prompt, length + 1 + random() % 20, life.pages);
      if (found < 0) {
        ++refused;
        continue;
      }
      CHECK(found < length);
      CHECK(found % kPageSize == 0);
      shared += found > 0 ? 1 : 0;
      lives.push_back(std::move(life));
    }
    std::map<int32_t, std::vector<int32_t>> path_of;  // a shared page → all tokens up to its end
    int64_t used = 0;
    for (const Life& life : lives) {
      for (size_t p = 0; p < life.pages.size(); ++p) {
        const auto end = std::min(life.prompt.size(), (p + 1) * kPageSize);
        const std::vector<int32_t> path(life.prompt.begin(), life.prompt.begin() + static_cast<std::ptrdiff_t>(end));
        const auto [place, inserted] = path_of.emplace(life.pages[p], path);
        if (inserted) {
          ++used;
        } else {
          REQUIRE(place->second == path);
          REQUIRE(path.size() == (p + 1) * kPageSize);
        }
      }
    }
    REQUIRE(used + cache.num_free() == kPages);
  }
  CHECK(refused > 50);
  CHECK(shared > 100);
  for (Life& life : lives) cache.give_back(life.pages);
  CHECK(cache.num_free() == kPages);
}

}  // namespace
}  // namespace gleaner::test
