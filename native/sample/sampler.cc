// A pass computes the new tokens of all running sequences (whole prompts, or one token each), then draws one token a
// sequence.
#include "sample/sampler.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "sample/scheduler.h"

namespace gleaner {

namespace {

/// Keys and values of the cache; this pass's are written to it before anyone looks.
class CacheContext final : public AttentionContext {
 public:
  explicit CacheContext(KvCache& cache) : cache_(cache) {}

  void add(const Running& sequence) {
    const auto count = static_cast<int64_t>(sequence.next_ids.size());
    const auto row = static_cast<int64_t>(positions_.size());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = sequence.computed + i;
      positions_.push_back(static_cast<int32_t>(position));
      slots_.push_back(static_cast<int64_t>(sequence.pages[static_cast<size_t>(position / kPageSize)]) * kPageSize +
                       position % kPageSize);
      ids_.push_back(sequence.next_ids[static_cast<size_t>(i)]);
    }
    all_.push_back({.row = row, .count = count, .position = sequence.computed, .pages = sequence.pages});
    const auto index = static_cast<int64_t>(needed_rows_.size());
    needed_.push_back({.row = index, .count = 1, .position = sequence.computed + count - 1, .pages = sequence.pages});
    needed_rows_.push_back(static_cast<int32_t>(row + count - 1));
    needed_positions_.push_back(static_cast<int32_t>(sequence.computed + count - 1));
  }

  std::span<const int32_t> ids() const { return ids_; }
  std::span<const int32_t> positions() const override { return positions_; }
  std::span<const int32_t> needed_rows() const override { return needed_rows_; }
  std::span<const int32_t> needed_positions() const override { return needed_positions_; }
  void attend(Ops& ops, int64_t layer, bool needed_only, const AttentionShape& shape, Tensor q, Tensor kv, Tensor out,
              Tensor) override {
    const int64_t width = shape.kv_heads * shape.head_dim;
    ops.cache_write(kv.slice_cols(0, width), kv.slice_cols(width, width), slots_, cache_.keys(layer),
                    cache_.values(layer));
    ops.attention_cached(needed_only ? needed_ : all_, kPageSize, shape, q, cache_.keys(layer), cache_.values(layer),
                         out);
  }

 private:
  KvCache& cache_;
  std::vector<int32_t> ids_, positions_, needed_rows_, needed_positions_;
  std::vector<int64_t> slots_;
  std::vector<CachedQuery> all_, needed_;
};

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

void check_prompts(std::span<const Prompt> prompts, const GenerateSettings& settings, const DecoderSpec& spec) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto length = static_cast<int64_t>(prompts[i].ids.size());
    if (length == 0)
      throw Error("ERR_GLEANER_DATA", "prompt " + std::to_string(i) + " has no tokens", "give it text, or a BOS token");
    if (length + settings.max_new_tokens > std::min(settings.max_length, spec.max_positions)) {
      throw Error("ERR_GLEANER_DATA",
                  "prompt " + std::to_string(i) + " has " + std::to_string(length) + " tokens; with " +
                      std::to_string(settings.max_new_tokens) + " new ones that is more than the " +
                      std::to_string(std::min(settings.max_length, spec.max_positions)) + " positions there are",
                  "lower max_new_tokens or shorten the prompt");
    }
    for (const int32_t id : prompts[i].ids) {
      if (id < 0 || id >= spec.vocab) {
        throw Error("ERR_GLEANER_DATA",
                    "prompt " + std::to_string(i) + " has token id " + std::to_string(id) +
                        ", outside the model's vocabulary of " + std::to_string(spec.vocab),
                    "use the tokenizer that belongs to this model");
      }
    }
  }
}

SamplerSizes sampler_sizes(int64_t batch_size, int64_t max_length, int64_t prefill_tokens) {
  // A pass holds every place's one token and at least one whole prompt.
  return {.pass_tokens = std::max(prefill_tokens, max_length) + batch_size,
          .batch_size = batch_size,
          .num_pages = batch_size * pages_for(max_length),
          .max_length = max_length};
}

size_t Sampler::activation_bytes(const DecoderSpec& spec, const SamplerSizes& sizes) {
  Arena counting;
  const Activations activations(spec, sizes.pass_tokens, sizes.batch_size, ActivationPolicy::none, counting);
  counting.tensor(sizes.batch_size, spec.vocab);
  return counting.high_water();
}

std::vector<Response> Sampler::generate(std::span<const Prompt> prompts, const GenerateSettings& settings, Arena arena,
                                        const GenerateCallbacks& callbacks) {
  std::vector<Response> responses(prompts.size());
  if (settings.max_new_tokens <= 0) return responses;
  const SamplerSizes sizes = sampler_sizes(settings.batch_size, settings.max_length, settings.prefill_tokens);
  KvCache cache(decoder_.spec(), sizes.num_pages, memory_);
  Scheduler scheduler(prompts, settings, sizes, cache);
  std::vector<TokenEvent> events;
  while (!scheduler.done()) {
    callbacks.check_abort();
    const std::span<Running> running = scheduler.next_pass();
    CacheContext context(cache);
    for (const Running& sequence : running) context.add(sequence);

    const size_t mark = arena.mark();
    const auto num_running = static_cast<int64_t>(running.size());
    Activations activations(decoder_.spec(), static_cast<int64_t>(context.ids().size()), num_running,
                            ActivationPolicy::none, arena);
    decoder_.forward_cached(context.ids(), context, activations);
    const Tensor logits = arena.tensor(num_running, decoder_.spec().vocab);
    ops_.linear_forward(activations.hidden, decoder_.head(), {}, {}, logits);

    std::vector<SamplingOptions> options;
    for (const Running& sequence : running) {
      const auto index = static_cast<size_t>(sequence.prompt);
      options.push_back({.temperature = settings.temperature,
                         .top_p = settings.top_p,
                         .top_k = settings.top_k,
                         .seed = settings.seed,
                         .sample_id = prompts[index].sample_id,
                         .position = static_cast<uint32_t>(responses[index].ids.size())});
    }
    std::vector<Sampled> sampled(running.size());
    ops_.sample(logits, options, sampled);
    arena.rewind(mark);

    events.clear();
    std::vector<uint8_t> finished(running.size());
    for (size_t i = 0; i < running.size(); ++i) {
      Running& sequence = running[i];
      Response& response = responses[static_cast<size_t>(sequence.prompt)];
      const int32_t token = sampled[i].token;
      events.push_back(
          {.prompt = sequence.prompt, .token = token, .position = static_cast<int32_t>(response.ids.size())});
      response.ids.push_back(token);
      response.logprobs.push_back(sampled[i].logprob);
      response.full_logprobs.push_back(sampled[i].logprob_full);
      sequence.computed += static_cast<int64_t>(sequence.next_ids.size());
      sequence.next_ids.assign(1, token);
      const bool eos = contains(settings.eos_ids, token);
      const bool stop =
          !eos && (contains(settings.stop_ids, token) || (callbacks.stopped && callbacks.stopped(sequence.prompt)));
      if (eos) response.finish_reason = FinishReason::eos;
      if (stop) response.finish_reason = FinishReason::stop;
      finished[i] = eos || stop || static_cast<int64_t>(response.ids.size()) == settings.max_new_tokens ? 1 : 0;
    }
    if (callbacks.on_tokens) callbacks.on_tokens(events);
    scheduler.retire(finished);
  }
  return responses;
}

}  // namespace gleaner
