// Rounds as a run makes them, without Node: answers are sampled, references scored, pairs trained on; a state written
// in the middle of a round and read by another engine goes on with the same bits.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "engine/engine.h"
#include "tiny.h"

namespace gleaner::test {
namespace {

namespace fs = std::filesystem;

void never() {}

/// A folder that is gone with its owner.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "gleaner-round-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path_); }
  std::string file(const char* name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

struct Demonstration {
  std::vector<int32_t> prompt;
  std::vector<int32_t> response;
};

std::vector<Demonstration> demonstrations(int64_t vocab) {
  std::mt19937 random(11);
  std::vector<Demonstration> rows;
  for (int i = 0; i < 6; ++i) {
    rows.push_back({.prompt = random_ids(random, 2 + i * 4, vocab), .response = random_ids(random, 3 + i % 4, vocab)});
  }
  return rows;
}

/// prompt → responses; every token of a response is a target.
void add_tree(std::vector<SegmentSpec>& segments, MicroBatch& batch, const std::vector<int32_t>& prompt,
              const std::vector<std::vector<int32_t>>& responses) {
  const auto root = static_cast<int32_t>(segments.size());
  const auto first = static_cast<int32_t>(batch.ids.size());
  segments.push_back({static_cast<int64_t>(prompt.size()), -1});
  batch.ids.insert(batch.ids.end(), prompt.begin(), prompt.end());
  for (const std::vector<int32_t>& response : responses) {
    batch.sequences.push_back(
        {.begin = static_cast<int32_t>(batch.targets.size()), .count = static_cast<int32_t>(response.size())});
    const auto start = static_cast<int32_t>(batch.ids.size());
    for (size_t i = 0; i < response.size(); ++i) {
      const int32_t row =
          i == 0 ? first + static_cast<int32_t>(prompt.size()) - 1 : start + static_cast<int32_t>(i) - 1;
      batch.targets.push_back({.row = row, .token = response[i]});
    }
    if (response.size() < 2) continue;
    segments.push_back({static_cast<int64_t>(response.size()) - 1, root});
    batch.ids.insert(batch.ids.end(), response.begin(), response.end() - 1);
  }
}

struct PairRow {
  Demonstration real;
  std::vector<int32_t> generated;
  double ref_real = 0;
  double ref_generated = 0;
};

MicroBatch batch_of(std::span<const PairRow> rows) {
  MicroBatch batch;
  std::vector<SegmentSpec> segments;
  for (const PairRow& row : rows) {
    const auto sequence = static_cast<int32_t>(batch.sequences.size());
    add_tree(segments, batch, row.real.prompt, {row.real.response, row.generated});
    batch.pairs.push_back({sequence, sequence + 1, row.ref_real, row.ref_generated});
  }
  batch.forest = make_forest(segments);
  return batch;
}

/// The round's answers and the references of both sides, all from the weights in place.
std::vector<PairRow> sample_pairs(Engine& engine, const std::vector<Demonstration>& rows, uint64_t seed) {
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < rows.size(); ++i) prompts.push_back({.ids = rows[i].prompt, .sample_id = i});
  GenerateSettings settings;
  settings.max_new_tokens = 9;
  settings.temperature = 0.9F;
  settings.top_p = 0.95F;
  settings.seed = seed;
  settings.eos_ids = {5};
  settings.batch_size = 4;
  settings.max_length = 40;
  settings.prefill_tokens = 48;
  const std::vector<Response> responses =
      engine.generate(prompts, settings, {.check_abort = never, .on_tokens = {}, .stopped = {}});
  std::vector<PairRow> pairs;
  for (size_t i = 0; i < rows.size(); ++i) {
    MicroBatch real;
    std::vector<SegmentSpec> segments;
    add_tree(segments, real, rows[i].prompt, {rows[i].response});
    real.forest = make_forest(segments);
    const std::vector<float> logprobs = engine.score(real, false).logprobs;
    const std::vector<float>& full = responses[i].full_logprobs;
    pairs.push_back({.real = rows[i],
                     .generated = responses[i].ids,
                     .ref_real = std::accumulate(logprobs.begin(), logprobs.end(), 0.0),
                     .ref_generated = std::accumulate(full.begin(), full.end(), 0.0)});
  }
  return pairs;
}

StepResult train(Engine& engine, const std::vector<PairRow>& pairs) {
  const std::span<const PairRow> rows(pairs);
  return engine.update(
      std::vector<MicroBatch>{batch_of(rows.first(3)), batch_of(rows.subspan(3))},
      {.name = "pair", .loss = "logistic", .beta = 0.3, .nll_weight = 0.2, .denominator = 6, .nll_denominator = 24},
      {.learning_rate = 1e-2, .max_grad_norm = 1}, never);
}

constexpr std::string_view kHeader = R"({"__metadata__":{"crc32":"00000000"}})";
constexpr uint64_t kDigitsAt = 8 + std::string_view(R"({"__metadata__":{"crc32":")").size();

std::vector<std::byte> header() {
  const uint64_t length = kHeader.size();
  std::vector<std::byte> bytes(sizeof(length) + kHeader.size());
  std::memcpy(bytes.data(), &length, sizeof(length));
  std::memcpy(bytes.data() + sizeof(length), kHeader.data(), kHeader.size());
  return bytes;
}

/// Every parameter in the blocks named, one after the other.
template <class Piece>
std::vector<Piece> pieces_of(Engine& engine, const std::vector<std::pair<Block, int32_t>>& blocks) {
  std::vector<Piece> pieces;
  for (const auto& [block, state] : blocks) {
    for (const Parameter& parameter : engine.parameters().all()) {
      Piece& piece = pieces.emplace_back();
      piece.parameter = parameter.name;
      piece.rows = parameter.rows == 1 ? parameter.cols : parameter.rows;
      piece.block = block;
      piece.state = state;
    }
  }
  return pieces;
}

void save(Engine& engine, const std::string& path, const std::vector<std::pair<Block, int32_t>>& blocks) {
  engine.save(path, header(), pieces_of<SavePiece>(engine, blocks), kDigitsAt, never);
}

uint32_t crc_in(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(kDigitsAt));
  std::string digits(8, ' ');
  file.read(digits.data(), 8);
  return static_cast<uint32_t>(std::stoul(digits, nullptr, 16));
}

void load(Engine& engine, const std::string& path, const std::vector<std::pair<Block, int32_t>>& blocks,
          std::optional<int64_t> num_steps, uint32_t crc) {
  std::vector<LoadPiece> pieces = pieces_of<LoadPiece>(engine, blocks);
  uint64_t offset = 8 + kHeader.size();
  for (LoadPiece& piece : pieces) {
    const Parameter& parameter = engine.parameters().at(piece.parameter);
    piece.offset = offset;
    offset += static_cast<uint64_t>(parameter.rows * parameter.cols) * sizeof(float);
  }
  engine.load_state(path, kDigitsAt, crc, pieces, num_steps, never);
}

std::vector<std::pair<Block, int32_t>> state_blocks(const std::string& optimizer) {
  std::vector<std::pair<Block, int32_t>> blocks{{Block::weights, 0}, {Block::optimizer, 0}};
  if (optimizer == "adamw") blocks.emplace_back(Block::optimizer, 1);
  return blocks;
}

Engine prepared(const DecoderSpec& spec, const std::string& optimizer, int threads, uint64_t seed) {
  Engine engine({.spec = spec, .ops = {.threads = threads}, .memory_limit_bytes = 0});
  engine.fill_random(seed, 0.4);
  engine.prepare_training(
      {.optimizer = optimizer, .activations = ActivationPolicy::recompute, .micro_batch_tokens = 160, .max_length = 40},
      {.name = optimizer});
  return engine;
}

std::vector<std::vector<float>> weights_of(Engine& engine) {
  std::vector<std::vector<float>> weights;
  for (const Parameter& parameter : engine.parameters().all()) weights.push_back(engine.read(parameter.name, false));
  return weights;
}

/// The rest of a round, and one more: losses and texts, then the weights.
struct Rest {
  std::vector<double> numbers;
  std::vector<std::vector<int32_t>> texts;
  std::vector<std::vector<float>> weights, round;
  bool operator==(const Rest&) const = default;
};

Rest finish(Engine& engine, const std::vector<Demonstration>& rows, std::vector<PairRow> pairs) {
  Rest rest;
  const auto step = [&] {
    const StepResult result = train(engine, pairs);
    rest.numbers.insert(rest.numbers.end(), {result.loss, result.grad_norm});
  };
  step();
  engine.swap_round();  // where the round began
  rest.round = weights_of(engine);
  engine.swap_round();
  engine.remember_round();
  pairs = sample_pairs(engine, rows, 3);
  for (const PairRow& pair : pairs) {
    rest.texts.push_back(pair.generated);
    rest.numbers.insert(rest.numbers.end(), {pair.ref_real, pair.ref_generated});
  }
  step();
  step();
  rest.weights = weights_of(engine);
  return rest;
}

TEST_CASE("a round goes on in another engine from its files, with the same bits") {
  for (const auto& [name, spec] : tiny_specs()) {
    for (const std::string optimizer : {"adamw", "rmsprop"}) {
      CAPTURE(name);
      CAPTURE(optimizer);
      const Folder folder;
      const std::vector<Demonstration> rows = demonstrations(spec.vocab);
      Engine engine = prepared(spec, optimizer, 2, 3);
      std::vector<PairRow> pairs = sample_pairs(engine, rows, 1);
      for (int i = 0; i < 2; ++i) REQUIRE(!train(engine, pairs).skipped);
      engine.remember_round();
      pairs = sample_pairs(engine, rows, 2);
      REQUIRE(!train(engine, pairs).skipped);

      const std::vector<std::pair<Block, int32_t>> blocks = state_blocks(optimizer);
      save(engine, folder.file("state"), blocks);
      save(engine, folder.file("round"), {{Block::round, 0}});
      const TrainingState state = engine.training_state();
      CHECK(state.num_steps == 3);
      CHECK(state.states.size() == blocks.size() - 1);
      const Rest wanted = finish(engine, rows, pairs);

      Engine other = prepared(spec, optimizer, 3, 77);
      load(other, folder.file("state"), blocks, state.num_steps, crc_in(folder.file("state")));
      load(other, folder.file("round"), {{Block::round, 0}}, {}, crc_in(folder.file("round")));
      CHECK(finish(other, rows, pairs) == wanted);
      CHECK(wanted.round != wanted.weights);
    }
  }
}

TEST_CASE("a state whose bytes were changed, cut, or that is aborted, changes nothing") {
  const Folder folder;
  const std::string path = folder.file("state");
  const DecoderSpec spec = tiny_spec();
  const std::vector<Demonstration> rows = demonstrations(spec.vocab);
  Engine engine = prepared(spec, "adamw", 2, 3);
  const std::vector<PairRow> pairs = sample_pairs(engine, rows, 1);
  train(engine, pairs);
  const auto blocks = state_blocks("adamw");
  save(engine, path, blocks);
  const uint32_t crc = crc_in(path);
  const auto trained = [&](const std::function<void(Engine&)>& between) {
    Engine other = prepared(spec, "adamw", 1, 9);
    train(other, pairs);
    between(other);
    train(other, pairs);
    return weights_of(other);
  };
  const auto untouched = trained([](Engine&) {});
  const auto refused = [&](const std::function<void()>& spoil) {
    save(engine, path, blocks);
    spoil();
    CHECK(trained([&](Engine& other) { CHECK_THROWS_AS(load(other, path, blocks, 1, crc), Error); }) == untouched);
  };
  const uintmax_t size = fs::file_size(path);
  for (const uintmax_t place : {uintmax_t{3}, uintmax_t{20}, 8 + kHeader.size(), size / 2, size - 1}) {
    refused([&] {
      std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
      file.seekg(static_cast<std::streamoff>(place));
      const char byte = static_cast<char>(file.get() ^ 4);
      file.seekp(static_cast<std::streamoff>(place));
      file.put(byte);
    });
  }
  for (const uintmax_t length : {uintmax_t{0}, uintmax_t{10}, size / 2, size - 1})
    refused([&] { fs::resize_file(path, length); });
  refused([&] { fs::resize_file(path, size + 1); });
  refused([&] { fs::remove(path); });

  save(engine, path, blocks);
  CHECK(trained([&](Engine& other) {
          std::vector<LoadPiece> pieces = pieces_of<LoadPiece>(other, blocks);
          CHECK_THROWS_AS(other.load_state(path, kDigitsAt, crc, pieces, 1, [] { throw Aborted(); }), Aborted);
          pieces.back().rows += 1;
          CHECK_THROWS_AS(other.load_state(path, kDigitsAt, crc, pieces, 1, never), Error);
        }) == untouched);
  int calls = 0;
  const auto second = [&calls] {
    if (++calls == 2) throw Aborted();
  };
  CHECK_THROWS_AS(engine.save(path, header(), pieces_of<SavePiece>(engine, blocks), kDigitsAt, second), Aborted);
  CHECK(crc_in(path) == crc);  // the file of before
  CHECK(std::distance(fs::directory_iterator(fs::path(path).parent_path()), fs::directory_iterator()) == 1);
}

TEST_CASE("other weights in place: no state is saved or loaded, no round is marked") {
  const Folder folder;
  Engine engine = prepared(tiny_spec(), "adamw", 2, 3);
  CHECK_THROWS_AS(save(engine, folder.file("round"), {{Block::round, 0}}), Error);
  CHECK_THROWS_AS(engine.swap_round(), Error);
  engine.remember_round();
  save(engine, folder.file("state"), state_blocks("adamw"));
  const auto before = weights_of(engine);
  const auto refused = [&] {
    CHECK_THROWS_AS(engine.training_state(), Error);
    CHECK_THROWS_AS(engine.remember_round(), Error);
    CHECK_THROWS_AS(engine.put_weights_aside(), Error);
    CHECK_THROWS_AS(load(engine, folder.file("state"), state_blocks("adamw"), 1, crc_in(folder.file("state"))), Error);
  };
  engine.swap_round();
  CHECK_THROWS_AS(save(engine, folder.file("round"), {{Block::round, 0}}), Error);
  refused();
  engine.swap_round();
  engine.put_weights_aside();
  refused();
  CHECK_THROWS_AS(engine.swap_round(), Error);
  engine.bring_weights_back();
  CHECK(weights_of(engine) == before);
}

}  // namespace
}  // namespace gleaner::test
