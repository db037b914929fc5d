// Sampling against a reference that sorts the whole vocabulary in fp64, and against the distribution it claims.
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/philox.h"
#include "support.h"

namespace gleaner::test {
namespace {

struct Reference {
  std::vector<double> probabilities;  // 0 outside the kept set
  double full_lse;
};

Reference reference(const std::vector<float>& logits, const SamplingOptions& options) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  const auto logit = [&](int32_t id) { return static_cast<double>(logits[static_cast<size_t>(id)]); };
  const double largest = logit(order[0]);
  const auto weight = [&](int32_t id) {
    return std::exp((logit(id) - largest) / static_cast<double>(options.temperature));
  };
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < order.size())
    order.resize(static_cast<size_t>(options.top_k));
  const auto total_of = [&] {
    return std::accumulate(order.begin(), order.end(), 0.0, [&](double sum, int32_t id) { return sum + weight(id); });
  };
  if (options.top_p < 1) {
    const double wanted = static_cast<double>(options.top_p) * total_of();
    double sum = 0;
    size_t count = 0;
    while (count < order.size() && sum < wanted) sum += weight(order[count++]);
    order.resize(std::max<size_t>(1, count));
  }
  Reference result{std::vector<double>(logits.size()), 0};
  const double total = total_of();
  for (const int32_t id : order) result.probabilities[static_cast<size_t>(id)] = weight(id) / total;
  double full = 0;
  for (const float value : logits) full += std::exp(static_cast<double>(value) - largest);
  result.full_lse = largest + std::log(full);
  return result;
}

/// The token that the draw's uniform number picks, in id order.
int32_t picked(const Reference& wanted, const SamplingOptions& options) {
  const auto words = random_words(options.seed, RandomPurpose::sample, options.sample_id, options.position);
  double rest = uniform_from(words[0], words[1]);
  for (size_t id = 0; id < wanted.probabilities.size(); ++id) {
    if (rest < wanted.probabilities[id]) return static_cast<int32_t>(id);
    rest -= wanted.probabilities[id];
  }
  return -1;
}

Sampled sample_one(Backend& backend, const std::vector<float>& logits, const SamplingOptions& options) {
  Matrix row(1, static_cast<int64_t>(logits.size()));
  row.values = logits;
  Sampled sampled;
  backend->sample(row.tensor(), {&options, 1}, {&sampled, 1});
  return sampled;
}

std::vector<float> random_logits(std::mt19937& random, int64_t vocab, double deviation, double step = 0) {
  std::vector<float> logits = Matrix::random(random, 1, vocab, 0, deviation).values;
  for (float& value : logits)
    value = step == 0 ? value : static_cast<float>(std::round(static_cast<double>(value) / step) * step);
  return logits;
}

TEST_CASE("1e5 draws follow the distribution, for each temperature, top_k and top_p") {
  struct Setting {
    float temperature, top_p;
    int32_t top_k;
  };
  const std::vector<float> logits{0.3F, -1, 2, 0.3F, -0.5F, 1.1F, -2, 0, 1.9F, 0.6F};
  constexpr int kBatch = 1000;
  Backend backend(best_isa(), 2, limits_for(kBatch, 16, 10, false));
  uint64_t seed = 0;
  for (const auto& [temperature, top_p, top_k] :
       {Setting{1, 1, 0}, Setting{0.7F, 1, 0}, Setting{2.5F, 1, 0}, Setting{1, 1, 4}, Setting{1, 0.8F, 0},
        Setting{1.5F, 0.7F, 6}, Setting{0.5F, 0.95F, 9}}) {
    CAPTURE(temperature);
    CAPTURE(top_k);
    CAPTURE(top_p);
    SamplingOptions options{
        .temperature = temperature, .top_p = top_p, .top_k = top_k, .seed = ++seed, .sample_id = 0, .position = 0};
    const Reference wanted = reference(logits, options);
    std::vector<int> counts(10);
    for (uint32_t batch = 0; batch < 100; ++batch) {
      Matrix rows(kBatch, 10);
      std::vector<SamplingOptions> row_options;
      for (int64_t r = 0; r < kBatch; ++r) {
        std::copy(logits.begin(), logits.end(), &rows.at(r, 0));
        options.sample_id = static_cast<uint64_t>(r);
        options.position = batch;
        row_options.push_back(options);
      }
      std::vector<Sampled> sampled(kBatch);
      backend->sample(rows.tensor(), row_options, sampled);
      for (const Sampled& one : sampled) ++counts[static_cast<size_t>(one.token)];
    }
    double chi_square = 0;
    int degrees = -1;
    for (size_t id = 0; id < 10; ++id) {
      const double expected = wanted.probabilities[id] * 1e5;
      if (expected == 0) {
        CHECK(counts[id] == 0);
        continue;
      }
      CHECK(counts[id] > 0);
      chi_square += (counts[id] - expected) * (counts[id] - expected) / expected;
      ++degrees;
    }
    CAPTURE(degrees);
    CHECK(chi_square < degrees + 4 * std::sqrt(2.0 * degrees) + 4);  // beyond the 99.9th percentile for 1 to 9 degrees
  }
}

TEST_CASE("sets, tokens and log-probs are those of a full sort, with and without ties") {
  struct Setting {
    float temperature, top_p;
    int32_t top_k;
  };
  std::mt19937 random(2);
  for (const int64_t vocab : {1, 2, 31, 1000, 5003}) {
    for (const double step : {0.0, 0.5}) {  // 0.5: many equal logits
      const std::vector<float> logits = random_logits(random, vocab, 3, step);
      for_each_backend(limits_for(1, 16, vocab, false), [&](Backend& backend) {
        uint32_t position = 0;
        for (const auto& [temperature, top_p, top_k] :
             {Setting{1, 1, 0}, Setting{0.6F, 1, 0}, Setting{1, 1, 1}, Setting{1, 1, 7}, Setting{1.3F, 1, 300},
              Setting{1, 1, 100'000}, Setting{1, 0.9F, 0}, Setting{0.8F, 0.5F, 0}, Setting{1, 0.001F, 0},
              Setting{1, 0.9999F, 0}, Setting{1, 0.9F, 50}, Setting{3, 0.3F, 900}, Setting{1, 0, 0},
              Setting{1e-3F, 0.99F, 40}, Setting{1e-40F, 0.9F, 0}, Setting{20, 0.95F, 0}}) {
          CAPTURE(vocab);
          CAPTURE(step);
          CAPTURE(temperature);
          CAPTURE(top_p);
          CAPTURE(top_k);
          SamplingOptions options{
              .temperature = temperature, .top_p = top_p, .top_k = top_k, .seed = 11, .sample_id = 5, .position = 0};
          const Reference wanted = reference(logits, options);
          for (int draw = 0; draw < 10; ++draw) {
            options.position = ++position;
            const Sampled sampled = sample_one(backend, logits, options);
            const double probability = wanted.probabilities[static_cast<size_t>(sampled.token)];
            REQUIRE(probability > 0);
            CHECK(sampled.token == picked(wanted, options));
            // One token too many or too few in the set shows in the renormalised log-prob.
            CHECK(std::abs(static_cast<double>(sampled.logprob) - std::log(probability)) <
                  1e-6 * std::max(1.0, -std::log(probability)));
            const double full = static_cast<double>(logits[static_cast<size_t>(sampled.token)]) - wanted.full_lse;
            CHECK(std::abs(static_cast<double>(sampled.logprob_full) - full) < 2e-6 * std::max(1.0, -full));
          }
        }
      });
    }
  }
}

TEST_CASE("the last token kept: equal probabilities go to the lower ids") {
  for_each_backend(limits_for(1, 16, 10, false), [](Backend& backend) {
    const std::vector<float> flat(10, 1.5F);
    const auto seen = [&](SamplingOptions options) {
      std::map<int32_t, int> tokens;
      for (options.position = 0; options.position < 300; ++options.position)
        ++tokens[sample_one(backend, flat, options).token];
      std::vector<int32_t> ids;
      for (const auto& [id, count] : tokens) ids.push_back(id);
      return ids;
    };
    CHECK(seen({.top_k = 3}) == std::vector<int32_t>{0, 1, 2});
    CHECK(seen({.top_p = 0.5F}) == std::vector<int32_t>{0, 1, 2, 3, 4});  // exactly half
    CHECK(seen({.top_p = 0.5001F}) == std::vector<int32_t>{0, 1, 2, 3, 4, 5});
    CHECK(seen({.top_p = 0.5F, .top_k = 4}) == std::vector<int32_t>{0, 1});  // half of the four kept
  });
}

TEST_CASE("greedy takes the lowest id of the largest logits") {
  for_each_backend(limits_for(1, 16, 700, false), [](Backend& backend) {
    std::vector<float> logits(700, -1);
    logits[300] = logits[640] = 4;
    const Sampled sampled = sample_one(backend, logits, {.temperature = 0, .top_p = 0.5F, .top_k = 3});
    CHECK(sampled.token == 300);
    CHECK(sampled.logprob == 0);
    CHECK(is_close(sampled.logprob_full, 4 - std::log(2 * std::exp(4.0) + 698 * std::exp(-1.0)), 1e-6));
  });
}

TEST_CASE("a row draws the same alone and in any batch, on any number of threads and instruction sets") {
  std::mt19937 random(3);
  constexpr int64_t kRows = 33;
  constexpr int64_t kVocab = 4001;
  const Matrix logits = Matrix::random(random, kRows, kVocab, 5, 2);
  std::vector<SamplingOptions> options;
  for (int64_t r = 0; r < kRows; ++r) {
    options.push_back({.temperature = r % 4 == 0 ? 0.0F : 1.0F,
                       .top_p = r % 3 == 0 ? 0.9F : 1.0F,
                       .top_k = r % 5 == 0 ? 40 : 0,
                       .seed = 7,
                       .sample_id = static_cast<uint64_t>(r),
                       .position = 3});
  }
  const auto bits = [&](Backend& backend, int64_t begin, int64_t count) {
    Matrix rows = logits;
    std::vector<Sampled> sampled(static_cast<size_t>(count));
    backend->sample(rows.tensor().slice_rows(begin, count),
                    std::span(options).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)), sampled);
    Matrix result(count, 3);
    for (int64_t r = 0; r < count; ++r) {
      const Sampled& one = sampled[static_cast<size_t>(r)];
      result.at(r, 0) = static_cast<float>(one.token);
      result.at(r, 1) = one.logprob;
      result.at(r, 2) = one.logprob_full;
    }
    return result;
  };
  const OpsLimits limits = limits_for(kRows, 16, kVocab, false);
  Backend portable(Isa::portable, 1, limits);
  const Matrix expected = bits(portable, 0, kRows);
  for_each_backend(limits, [&](Backend& backend) {
    CHECK(bits(backend, 0, kRows) == expected);
    for (const int64_t r : {0, 1, 15, 32}) {
      const Matrix alone = bits(backend, r, 1);
      for (int64_t c = 0; c < 3; ++c) CHECK(alone.at(0, c) == expected.at(r, c));
    }
  });
}

TEST_CASE("the sampler's log-prob at temperature 1 is the trainer's") {
  constexpr int64_t kVocab = 50304;
  std::mt19937 random(4);
  Matrix x = Matrix::random(random, 4, 16);
  Matrix w = Matrix::random(random, kVocab, 16);
  for (const Isa isa : present_isas()) {
    Backend backend(isa, 2, limits_for(4, 16, kVocab, false));
    const Weight weight = backend.weight(w);
    Matrix logits(4, kVocab);
    backend->linear_forward(x.tensor(), weight, Tensor{}, Tensor{}, logits.tensor());
    std::vector<SamplingOptions> options(4);
    for (uint32_t r = 0; r < 4; ++r)
      options[r] = {
          .temperature = r == 0 ? 1.0F : 0.8F, .top_p = r == 2 ? 0.9F : 1.0F, .top_k = r == 3 ? 50 : 0, .position = r};
    std::vector<Sampled> sampled(4);
    backend->sample(logits.tensor(), options, sampled);
    std::vector<HeadTarget> targets;
    for (int32_t r = 0; r < 4; ++r) targets.push_back({r, sampled[static_cast<size_t>(r)].token});
    std::vector<float> logprobs(4);
    std::vector<double> lse(4);
    backend->logprob_forward(x.tensor(), weight, targets, logprobs, lse, {});
    for (size_t r = 0; r < 4; ++r) CHECK(std::abs(sampled[r].logprob_full - logprobs[r]) < 1e-5);
    CHECK(std::abs(sampled[0].logprob - sampled[0].logprob_full) < 1e-6);
  }
}

TEST_CASE("forbidden tokens are never drawn; logits that are no numbers are an error that names the row") {
  for_each_backend(limits_for(3, 16, 300, false), [](Backend& backend) {
    std::vector<float> logits(300, -INFINITY);
    logits[17] = -50;
    logits[290] = -50;
    for (uint32_t position = 0; position < 40; ++position) {
      for (const float top_p : {1.0F, 0.9F}) {
        for (const int32_t top_k : {0, 20}) {
          const Sampled sampled = sample_one(backend, logits, {.top_p = top_p, .top_k = top_k, .position = position});
          CHECK((sampled.token == 17 || sampled.token == 290));
          CHECK(is_close(sampled.logprob, -std::log(2.0), 1e-6));
        }
      }
    }
    for (const float bad : {NAN, -NAN, INFINITY}) {
      Matrix rows(3, 300);
      rows.at(1, 299) = bad;
      std::vector<SamplingOptions> options(3);
      std::vector<Sampled> sampled(3);
      std::string code, message;
      try {
        backend->sample(rows.tensor(), options, sampled);
      } catch (const Error& error) {
        code = error.code;
        message = error.what();
      }
      CHECK(code == "ERR_GLEANER_NUMERIC");
      CHECK(message.find("row 1 ") != std::string::npos);
    }
    CHECK_THROWS(sample_one(backend, std::vector<float>(300, -INFINITY), {}));
  });
}

}  // namespace
}  // namespace gleaner::test
