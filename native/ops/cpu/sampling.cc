// No sort of the vocabulary: cheap bounds leave few candidates, nth_element finds the last token kept, and the draw
// walks the kept ones in id order, so that it does not depend on how they were found.
#include "ops/cpu/sampling.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "base/philox.h"
#include "ops/cpu/loops.h"

namespace gleaner::cpu {

namespace {

constexpr int64_t kBlock = 256;       // logits that are summed, or looked at, together
constexpr int64_t kBuckets = 2048;    // of logits by their distance from the largest: 32 nats,
constexpr float kBucketsPerNat = 64;  // and the last for all beyond

int64_t num_blocks(int64_t vocab) { return (vocab + kBlock - 1) / kBlock; }
int64_t round_up(int64_t value) { return (value + 15) / 16 * 16; }

struct Candidate {
  float logit;
  float weight;  // exp((logit - largest) / temperature)
  int32_t id;
};
bool better(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

/// One worker's memory.
struct Scratch {
  double* sums;        // of weights, [blocks]
  double* buckets;     // [kBuckets]
  float* weights;      // [vocab]
  Candidate* kept;     // [vocab], in id order
  Candidate* ordered;  // [vocab]

  Scratch(float* memory, int64_t vocab)
      : sums(reinterpret_cast<double*>(memory)),
        buckets(sums + num_blocks(vocab)),
        weights(memory + round_up(2 * (num_blocks(vocab) + kBuckets))),
        kept(reinterpret_cast<Candidate*>(weights + round_up(vocab))),
        ordered(kept + vocab) {}
  static int64_t floats(int64_t vocab) {
    return round_up(2 * (num_blocks(vocab) + kBuckets)) + round_up(vocab) + round_up(6 * vocab);
  }
};

class RowSampler {
 public:
  RowSampler(const Loops& loop, const float* logits, int64_t vocab, float largest, const SamplingOptions& options,
             const Scratch& scratch)
      : loop_(loop), logits_(logits), vocab_(vocab), largest_(largest), options_(options), scratch_(scratch) {}

  Sampled greedy() {
    const auto token = static_cast<int32_t>(std::find(logits_, logits_ + vocab_, largest_) - logits_);
    return {.token = token, .logprob = 0, .logprob_full = static_cast<float>(-std::log(sum_blocks(1)))};
  }

  Sampled draw() {
    const float scale = std::min(1.0F / options_.temperature, 3e38F);  // finite: 0 times it stays 0
    const bool top_k = options_.top_k > 0 && options_.top_k < vocab_;
    const bool top_p = options_.top_p < 1;
    double total = 0;
    int32_t token = 0;
    if (top_k) {
      int64_t count = keep_first(candidates_for_top_k(), scale);
      if (top_p) count = keep_mass(count);
      total = kept_mass(count);
      token = draw_from_kept(count, uniform() * total);
    } else if (top_p) {
      total = drop_beyond(cut_at_mass(weigh(scale), scale));
      token = draw_from_blocks(uniform() * total, [this](int64_t block) { return scratch_.weights + block * kBlock; });
    } else {
      total = sum_blocks(scale);
      token = draw_from_blocks(uniform() * total, [&](int64_t block) {
        loop_.exp(logits_ + block * kBlock, block_size(block), largest_, scale, 1, scratch_.weights);
        return scratch_.weights;
      });
    }
    const double logit = static_cast<double>(logits_[token]) - static_cast<double>(largest_);
    const double full_total = scale == 1 && !top_k && !top_p ? total : sum_blocks(1);
    return {.token = token,
            .logprob = static_cast<float>(logit / static_cast<double>(options_.temperature) - std::log(total)),
            .logprob_full = static_cast<float>(logit - std::log(full_total))};
  }

 private:
  int64_t block_size(int64_t block) const { return std::min(kBlock, vocab_ - block * kBlock); }

  double uniform() const {
    const auto words = random_words(options_.seed, RandomPurpose::sample, options_.sample_id, options_.position);
    return uniform_from(words[0], words[1]);
  }

  /// Sums of exp((logit - largest) * scale), by block and in all.
  double sum_blocks(float scale) {
    double total = 0;
    for (int64_t b = 0; b < num_blocks(vocab_); ++b) {
      scratch_.sums[b] = loop_.sum_exp(logits_ + b * kBlock, block_size(b), largest_, scale);
      total += scratch_.sums[b];
    }
    return total;
  }

  /// The same, and keeps the weights.
  double weigh(float scale) {
    double total = 0;
    for (int64_t b = 0; b < num_blocks(vocab_); ++b) {
      float* const weights = scratch_.weights + b * kBlock;
      scratch_.sums[b] = loop_.exp_sum(logits_ + b * kBlock, block_size(b), largest_, scale, weights);
      total += scratch_.sums[b];
    }
    return total;
  }

  /// The first id whose cumulative weight passes `target`; rounding may leave that to the last one with any weight.
  template <class WeightsOf>
  int32_t draw_from_blocks(double target, const WeightsOf& weights_of) const {
    double before = 0;
    int64_t block = 0;
    for (int64_t b = 0; b < num_blocks(vocab_); ++b) {
      if (scratch_.sums[b] == 0) continue;
      block = b;
      if (before + scratch_.sums[b] > target) break;
      before += scratch_.sums[b];
    }
    const float* const weights = weights_of(block);
    int64_t last = 0;
    for (int64_t i = 0; i < block_size(block); ++i) {
      if (weights[i] == 0) continue;
      last = i;
      before += static_cast<double>(weights[i]);
      if (before > target) break;
    }
    return static_cast<int32_t>(block * kBlock + last);
  }

  int32_t draw_from_kept(int64_t count, double target) const {
    double sum = 0;
    int32_t token = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (scratch_.kept[i].weight == 0) continue;
      token = scratch_.kept[i].id;
      sum += static_cast<double>(scratch_.kept[i].weight);
      if (sum > target) break;
    }
    return token;
  }

  double kept_mass(int64_t count) const {
    double mass = 0;
    for (int64_t i = 0; i < count; ++i) mass += static_cast<double>(scratch_.kept[i].weight);
    return mass;
  }

  /// Tokens that can be among the first k: the k-th largest block maximum is reached by at least k tokens.
  int64_t candidates_for_top_k() {
    float* const maxima = scratch_.weights;
    constexpr int64_t kSmallBlock = 32;
    const int64_t blocks = (vocab_ + kSmallBlock - 1) / kSmallBlock;
    const auto k = static_cast<int64_t>(options_.top_k);
    for (int64_t b = 0; b < blocks; ++b) {
      maxima[b] = loop_.max(logits_ + b * kSmallBlock, std::min(kSmallBlock, vocab_ - b * kSmallBlock));
    }
    float* const sorted = reinterpret_cast<float*>(scratch_.ordered);
    float bound = -INFINITY;
    if (k <= blocks) {
      std::copy_n(maxima, blocks, sorted);
      std::nth_element(sorted, sorted + k - 1, sorted + blocks, std::greater<>());
      bound = sorted[k - 1];
    }
    int64_t count = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      if (maxima[b] < bound) continue;
      for (int64_t id = b * kSmallBlock; id < std::min(vocab_, (b + 1) * kSmallBlock); ++id) {
        if (logits_[id] >= bound) {
          scratch_.kept[count++] = {.logit = logits_[id], .weight = 0, .id = static_cast<int32_t>(id)};
        }
      }
    }
    return count;
  }

  /// Keeps the best top_k of the candidates and gives them their weights.
  int64_t keep_first(int64_t count, float scale) {
    const auto k = static_cast<int64_t>(options_.top_k);
    std::copy_n(scratch_.kept, count, scratch_.ordered);
    std::nth_element(scratch_.ordered, scratch_.ordered + k - 1, scratch_.ordered + count, better);
    const int64_t kept = keep_up_to(scratch_.ordered[k - 1], count);
    for (int64_t i = 0; i < kept; ++i) scratch_.weights[i] = scratch_.kept[i].logit;
    loop_.exp(scratch_.weights, kept, largest_, scale, 1, scratch_.weights);
    for (int64_t i = 0; i < kept; ++i) scratch_.kept[i].weight = scratch_.weights[i];
    return kept;
  }

  /// Of the kept ones, the shortest prefix whose weights reach top_p of theirs.
  int64_t keep_mass(int64_t count) {
    std::copy_n(scratch_.kept, count, scratch_.ordered);
    return keep_up_to(cut_of(count, 0, static_cast<double>(options_.top_p) * kept_mass(count)), count);
  }

  int64_t keep_up_to(const Candidate& cut, int64_t count) {
    const auto beyond = [cut](const Candidate& candidate) { return better(cut, candidate); };
    return std::remove_if(scratch_.kept, scratch_.kept + count, beyond) - scratch_.kept;
  }

  /// The token of `ordered` with which the weights reach `wanted`, `before` being those of better tokens: by halves,
  /// each looked through once.
  Candidate cut_of(int64_t count, double before, double wanted) {
    Candidate* const ordered = scratch_.ordered;
    int64_t low = 0;
    int64_t high = count;
    while (high - low > 1) {
      const int64_t middle = low + (high - low) / 2;
      std::nth_element(ordered + low, ordered + middle, ordered + high, better);
      double half = 0;
      for (int64_t i = low; i < middle; ++i) half += static_cast<double>(ordered[i].weight);
      if (before + half >= wanted) {
        high = middle;
      } else {
        before += half;
        low = middle;
      }
    }
    return ordered[low];
  }

  /// Bucket of a logit; one with a larger logit is never in a later bucket.
  int64_t bucket_of(float logit, float scale) const {
    return static_cast<int64_t>(
        std::min((largest_ - logit) * scale * kBucketsPerNat, static_cast<float>(kBuckets - 1)));
  }

  /// top_p of all tokens: weights by bucket show which bucket the cut is in, and only that one is put in order.
  Candidate cut_at_mass(double mass, float scale) {
    std::fill_n(scratch_.buckets, kBuckets, 0.0);
    for (int64_t id = 0; id < vocab_; ++id) {
      scratch_.buckets[bucket_of(logits_[id], scale)] += static_cast<double>(scratch_.weights[id]);
    }
    const double wanted = static_cast<double>(options_.top_p) * mass;
    double before = 0;
    int64_t bucket = 0;
    for (int64_t b = 0; b < kBuckets; ++b) {
      if (scratch_.buckets[b] == 0) continue;
      bucket = b;
      if (before + scratch_.buckets[b] >= wanted) break;
      before += scratch_.buckets[b];
    }
    int64_t count = 0;
    for (int64_t id = 0; id < vocab_; ++id) {
      if (bucket_of(logits_[id], scale) != bucket) continue;
      scratch_.ordered[count++] = {
          .logit = logits_[id], .weight = scratch_.weights[id], .id = static_cast<int32_t>(id)};
    }
    return cut_of(count, before, wanted);
  }

  /// Leaves no weight to what comes after the cut; the sum of the rest.
  double drop_beyond(const Candidate& cut) {
    double total = 0;
    for (int64_t b = 0; b < num_blocks(vocab_); ++b) {
      double sum = 0;
      for (int64_t id = b * kBlock; id < b * kBlock + block_size(b); ++id) {
        const bool kept = logits_[id] > cut.logit || (logits_[id] == cut.logit && id <= cut.id);
        scratch_.weights[id] = kept ? scratch_.weights[id] : 0;
        sum += static_cast<double>(scratch_.weights[id]);
      }
      scratch_.sums[b] = sum;
      total += sum;
    }
    return total;
  }

  const Loops& loop_;
  const float* logits_;
  int64_t vocab_;
  float largest_;
  const SamplingOptions& options_;
  Scratch scratch_;
};

}  // namespace

size_t sampling_workspace_floats(int64_t vocab, int threads) {
  return static_cast<size_t>(Scratch::floats(vocab) * threads);
}

void sample(ThreadPool& pool, Isa isa, Tensor logits, std::span<const SamplingOptions> options,
            std::span<Sampled> sampled, float* workspace) {
  const Loops& loop = loops(isa);
  const int64_t vocab = logits.cols;
  pool.run_with_worker(logits.rows, [&](int64_t row, int worker) {
    const float largest = loop.max(logits.row(row), vocab);
    if (!std::isfinite(largest)) {
      throw Error("ERR_GLEANER_NUMERIC",
                  "the largest logit of row " + std::to_string(row) + " is " + std::to_string(largest),
                  "the model's weights hold values that are not numbers, or its activations overflow");
    }
    const SamplingOptions& row_options = options[static_cast<size_t>(row)];
    RowSampler sampler(loop, logits.row(row), vocab, largest, row_options,
                       Scratch(workspace + worker * Scratch::floats(vocab), vocab));
    sampled[static_cast<size_t>(row)] = row_options.temperature == 0 ? sampler.greedy() : sampler.draw();
  });
}

}  // namespace gleaner::cpu
