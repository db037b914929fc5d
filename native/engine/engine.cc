// Commands in terms of learn and sample; blocks of memory are made when a command first needs them, at the size of the
// plan.
#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "io/safetensors.h"

namespace gleaner {

namespace {
Error other_weights(const std::string& command) {
  return {"ERR_GLEANER_BUSY", command + " is not possible while other weights are in place"};
}
Error no_round() { return {"ERR_GLEANER_USAGE", "no round's weights are kept", "call markRound first"}; }
}  // namespace

Engine::Engine(EngineOptions options)
    : options_(std::move(options)),
      memory_(options_.memory_limit_bytes),
      ops_(make_ops(options_.ops)),
      parameters_(options_.spec),
      decoder_(options_.spec, parameters_, *ops_),
      updater_(decoder_, parameters_, *ops_),
      sampler_(decoder_, *ops_, memory_) {
  parameters_.allocate_values(memory_);
  parameters_.allocate_packed(memory_, *ops_, false);
}

Tensor Engine::rows_of(const BlockRows& rows) {
  const Parameter& parameter = parameters_.at(rows.parameter);
  float* block = nullptr;
  switch (rows.block) {
    case Block::weights:
      block = parameters_.values().f32();
      break;
    case Block::round:
      if (round_weights_.data() == nullptr) throw no_round();
      if (round_swapped_) throw other_weights("the round's copy");  // today's weights lie there
      block = round_weights_.f32();
      break;
    case Block::optimizer:
      need_training("the optimiser's state");
      block = optimizer_->states().at(static_cast<size_t>(rows.state)).f32();
      break;
  }
  const bool vector = parameter.rows == 1;
  const Tensor all =
      Tensor::f32(block + parameter.offset, vector ? parameter.cols : parameter.rows, vector ? 1 : parameter.cols);
  if (rows.row < 0 || rows.rows < 0 || rows.row > all.rows - rows.rows)
    throw Error("ERR_GLEANER_INTERNAL", rows.parameter + ": rows outside the parameter");
  return all.slice_rows(rows.row, rows.rows);
}

void Engine::load(std::span<const std::string> files, std::span<const LoadPiece> pieces) {
  const auto each = [&](const auto& work) {
    for (size_t i = 0; i < files.size(); ++i) {
      const InputFile file(files[i]);
      for (const LoadPiece& piece : pieces) {
        if (piece.file == static_cast<int32_t>(i)) work(file, piece, rows_of(piece));
      }
    }
  };
  each([](const InputFile& file, const LoadPiece& piece, Tensor rows) {
    file.need(piece.offset, piece_bytes(file.path(), rows.rows, rows.cols, piece.dtype));
  });
  each([](const InputFile& file, const LoadPiece& piece, Tensor rows) {
    read_piece(file, piece.offset, piece.dtype, rows);
  });
  parameters_.repack(*ops_);
}

void Engine::load_state(const std::string& path, uint64_t digits_at, uint32_t crc, std::span<const LoadPiece> pieces,
                        std::optional<int64_t> num_steps, const CheckAbort& check_abort) {
  if (weights_aside_ || round_swapped_) throw other_weights("loading a state");
  const InputFile file(path);
  if (file_crc32(file, digits_at, check_abort) != crc) {
    throw Error("ERR_GLEANER_MODEL", path + ": the file's checksum is not the one that it names",
                "its bytes were changed after it was written: use another checkpoint");
  }
  const auto names = [&](Block block) {
    return std::any_of(pieces.begin(), pieces.end(), [&](const LoadPiece& piece) { return piece.block == block; });
  };
  if (num_steps) need_training("loading a training state");
  const bool makes_round = names(Block::round) && round_weights_.data() == nullptr;
  if (makes_round)
    round_weights_ =
        memory_.allocate(Purpose::weights, static_cast<size_t>(parameters_.block_floats()) * sizeof(float));
  bool begun = false;
  try {
    for (const LoadPiece& piece : pieces) {
      const Tensor rows = rows_of(piece);
      file.need(piece.offset, piece_bytes(path, rows.rows, rows.cols, piece.dtype));
    }
    begun = true;
    for (const LoadPiece& piece : pieces) read_piece(file, piece.offset, piece.dtype, rows_of(piece));
  } catch (const Error& error) {
    if (makes_round) round_weights_ = Buffer{};
    if (!begun || makes_round) throw;
    // A disk that fails between two reads of the same bytes.
    throw Error(error.code, std::string(error.what()) + "; a part of the state is loaded", "load a whole one first");
  }
  if (num_steps) optimizer_->set_num_steps(*num_steps);
  if (names(Block::weights)) parameters_.repack(*ops_);
}

void Engine::fill_random(uint64_t seed, double stddev) {
  parameters_.fill_random(seed, stddev);
  parameters_.repack(*ops_);
}

void Engine::save(const std::string& path, std::span<const std::byte> header, std::span<const SavePiece> pieces,
                  std::optional<uint64_t> digits_at, const CheckAbort& check_abort) {
  uint64_t data_bytes = 0;
  for (const SavePiece& piece : pieces) {
    const Tensor rows = rows_of(piece);
    data_bytes += piece_bytes(path, rows.rows, rows.cols, piece.dtype);
  }
  SafetensorsWriter writer(path, header, data_bytes, digits_at);
  for (const SavePiece& piece : pieces) {
    check_abort();
    writer.write_rows(rows_of(piece), piece.dtype);
  }
  writer.finish();
}

std::vector<float> Engine::read(const std::string& name, bool gradient) {
  const Parameter& parameter = parameters_.at(name);
  if (gradient) need_training("reading gradients");
  const float* values = gradient ? parameter.gradient.f32() : parameter.weight.value.f32();
  return {values, values + parameter.rows * parameter.cols};
}

void Engine::write(const std::string& name, std::span<const float> values) {
  const Parameter& parameter = parameters_.at(name);
  if (static_cast<int64_t>(values.size()) != parameter.rows * parameter.cols) {
    throw Error("ERR_GLEANER_USAGE", name + " takes " + std::to_string(parameter.rows * parameter.cols) +
                                         " values, not " + std::to_string(values.size()));
  }
  std::copy(values.begin(), values.end(), parameter.weight.value.f32());
  if (parameter.multiplied) ops_->pack(parameter.weight);
}

void Engine::put_weights_aside() {
  if (weights_aside_ || round_swapped_) throw other_weights("withInitialWeights");
  parameters_.allocate_gradients(memory_);
  ops_->copy(parameters_.values(), parameters_.gradients());
  weights_aside_ = true;
}

void Engine::bring_weights_back() {
  if (!weights_aside_) throw Error("ERR_GLEANER_INTERNAL", "no weights were put aside");
  ops_->copy(parameters_.gradients(), parameters_.values());
  ops_->fill(parameters_.gradients(), 0);
  parameters_.repack(*ops_);
  weights_aside_ = false;
}

void Engine::remember_round() {
  if (round_swapped_ || weights_aside_) throw other_weights("markRound");
  const auto bytes = static_cast<size_t>(parameters_.block_floats()) * sizeof(float);
  if (round_weights_.data() == nullptr) round_weights_ = memory_.allocate(Purpose::weights, bytes);
  ops_->copy(parameters_.values(), Tensor::f32(round_weights_.f32(), 1, parameters_.block_floats()));
}

void Engine::swap_round() {
  if (round_weights_.data() == nullptr) throw no_round();
  if (weights_aside_) throw other_weights("withRoundWeights");
  const Tensor values = parameters_.values();
  std::swap_ranges(values.f32(), values.f32() + values.cols, round_weights_.f32());
  parameters_.repack(*ops_);
  round_swapped_ = !round_swapped_;
}

Arena Engine::arena(size_t bytes) {
  updater_.forget_forward();
  if (arena_.bytes() < bytes) {
    arena_ = Buffer{};  // given back first: the plan counts the larger one only
    arena_ = memory_.allocate(Purpose::activations, bytes);
  }
  return {arena_.data(), arena_.bytes()};
}

void Engine::reserve(const OpsLimits& limits, int64_t positions) {
  ops_->reserve_workspace(memory_, limits);
  decoder_.reserve_positions(memory_, positions);
}

void Engine::need_training(const char* command) {
  if (optimizer_ == nullptr) throw Error("ERR_GLEANER_USAGE", std::string(command) + " needs prepareTraining first");
  if (weights_aside_ || round_swapped_) throw other_weights(command);
}

void Engine::prepare_training(const TrainingSettings& settings, const OptimizerSettings& optimizer) {
  if (weights_aside_ || round_swapped_) throw other_weights("prepareTraining");
  training_ = settings;
  try {
    allocate_training(settings, optimizer);
  } catch (...) {  // the model stays usable without training
    optimizer_.reset();
    arena_ = Buffer{};
    parameters_.release_gradients();
    parameters_.allocate_packed(memory_, *ops_, false);
    parameters_.repack(*ops_);
    throw;
  }
}

void Engine::allocate_training(const TrainingSettings& settings, const OptimizerSettings& optimizer) {
  parameters_.allocate_gradients(memory_);
  ops_->fill(parameters_.gradients(), 0);
  parameters_.allocate_packed(memory_, *ops_, true);
  parameters_.repack(*ops_);
  optimizer_.reset();
  optimizer_ = make_optimizer(optimizer, memory_, parameters_.block_floats());
  arena(micro_batch_bytes(spec(), settings.micro_batch_tokens, settings.activations));
  reserve(training_limits(spec(), settings.micro_batch_tokens, settings.max_length, true), settings.max_length);
}

ForwardResult Engine::score(const MicroBatch& batch, bool want_greedy) {
  check_micro_batch(batch, spec());
  const int64_t tokens = batch.forest.tokens;
  const int64_t path = longest_path(batch.forest);
  reserve(training_limits(spec(), tokens, path, false), path);
  return updater_.score(batch, arena(micro_batch_bytes(spec(), tokens, ActivationPolicy::none)), want_greedy);
}

std::vector<float> Engine::logits(const MicroBatch& batch, std::span<const int32_t> rows) {
  check_micro_batch(batch, spec());
  for (const int32_t row : rows) {
    if (row < 0 || row >= batch.forest.tokens)
      throw Error("ERR_GLEANER_USAGE", "there is no row " + std::to_string(row) + " in this batch");
  }
  const int64_t path = longest_path(batch.forest);
  reserve(training_limits(spec(), batch.forest.tokens, path, false), path);
  return updater_.logits(batch, rows, arena(micro_batch_bytes(spec(), batch.forest.tokens, ActivationPolicy::none)));
}

void Engine::add_micro_batch(const MicroBatch& batch, const Objective& objective, StepResult& result) {
  const int64_t path = longest_path(batch.forest);
  reserve(training_limits(spec(), batch.forest.tokens, path, true), path);
  const Arena space = arena(micro_batch_bytes(spec(), batch.forest.tokens, training_.activations));
  result.loss += updater_.accumulate(batch, objective, training_.activations, space, result);
}

StepResult Engine::accumulate(std::span<const MicroBatch> batches, const ObjectiveSettings& settings,
                              const CheckAbort& check_abort) {
  need_training("update");
  for (const MicroBatch& batch : batches) check_micro_batch(batch, spec());  // before anything is added
  const std::unique_ptr<Objective> objective = make_objective(settings);
  StepResult result;
  try {
    for (const MicroBatch& batch : batches) {
      check_abort();
      add_micro_batch(batch, *objective, result);
    }
  } catch (...) {
    clear_gradients();  // half a step leaves nothing behind
    throw;
  }
  return result;
}

StepResult Engine::update(std::span<const MicroBatch> batches, const ObjectiveSettings& settings,
                          const StepSettings& step, const CheckAbort& check_abort) {
  StepResult result = accumulate(batches, settings, check_abort);
  updater_.finish(*optimizer_, step, result);
  return result;
}

void Engine::clear_gradients() {
  need_training("clearing gradients");
  ops_->fill(parameters_.gradients(), 0);
}

std::vector<float> Engine::forward(const MicroBatch& batch) {
  need_training("forward");
  check_micro_batch(batch, spec());
  const int64_t path = longest_path(batch.forest);
  reserve(training_limits(spec(), batch.forest.tokens, path, true), path);
  return updater_.forward(batch, training_.activations,
                          arena(micro_batch_bytes(spec(), batch.forest.tokens, training_.activations)));
}

void Engine::backward(std::span<const float> dlogprobs) {
  need_training("backward");
  updater_.backward(dlogprobs);
}

StepResult Engine::step(double loss, const StepSettings& settings) {
  need_training("step");
  StepResult result;
  result.loss = loss;
  updater_.finish(*optimizer_, settings, result);
  return result;
}

void Engine::reset_optimizer() {
  need_training("resetOptimizer");
  optimizer_->reset(*ops_);
}

TrainingState Engine::training_state() {
  need_training("the training state");
  return {.optimizer = optimizer_->name(), .num_steps = optimizer_->num_steps(), .states = optimizer_->state_names()};
}

std::vector<Response> Engine::generate(std::span<const Prompt> prompts, const GenerateSettings& settings,
                                       const GenerateCallbacks& callbacks) {
  if (prompts.empty()) return {};
  check_prompts(prompts, settings, spec());  // before anything is allocated for them
  const GenerationSizes sizes{
      .batch_size = settings.batch_size, .max_length = settings.max_length, .prefill_tokens = settings.prefill_tokens};
  reserve(generation_limits(spec(), sizes), settings.max_length);
  const size_t bytes =
      Sampler::activation_bytes(spec(), sampler_sizes(sizes.batch_size, sizes.max_length, sizes.prefill_tokens));
  return sampler_.generate(prompts, settings, arena(bytes), callbacks);
}

}  // namespace gleaner
