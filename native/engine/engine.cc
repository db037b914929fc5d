// Commands in terms of learn and sample; blocks of memory are made when a command first needs them, at the size of the
// plan.
#include "engine/engine.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "io/safetensors.h"

namespace gleaner {

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

void Engine::load(std::span<const std::string> files, std::span<const LoadPiece> pieces) {
  for (size_t i = 0; i < files.size(); ++i) {
    const InputFile file(files[i]);
    for (const LoadPiece& piece : pieces) {
      if (piece.file != static_cast<int32_t>(i)) continue;
      Parameter& parameter = parameters_.at(piece.parameter);
      const Tensor all = parameter.weight.value;
      // A vector counts as [n, 1].
      const Tensor value = parameter.rows == 1 ? Tensor::f32(all.f32(), all.cols, 1) : all;
      if (piece.row < 0 || piece.rows < 0 || piece.row + piece.rows > value.rows) {
        throw Error("ERR_GLEANER_INTERNAL", piece.parameter + ": rows outside the parameter");
      }
      read_piece(file, piece.offset, piece.dtype, value.slice_rows(piece.row, piece.rows));
    }
  }
  parameters_.repack(*ops_);
}

void Engine::fill_random(uint64_t seed, double stddev) {
  parameters_.fill_random(seed, stddev);
  parameters_.repack(*ops_);
}

void Engine::save(const std::string& path, std::span<const std::byte> header, std::span<const SavePiece> pieces) {
  uint64_t data_bytes = 0;
  for (const SavePiece& piece : pieces) {
    const Parameter& parameter = parameters_.at(piece.parameter);
    data_bytes +=
        static_cast<uint64_t>(piece.rows * (parameter.rows == 1 ? 1 : parameter.cols) * dtype_bytes(piece.dtype));
  }
  SafetensorsWriter writer(path, header, data_bytes);
  for (const SavePiece& piece : pieces) {
    const Tensor all = parameters_.at(piece.parameter).weight.value;
    const Tensor value = all.rows == 1 ? Tensor::f32(all.f32(), all.cols, 1) : all;
    if (piece.row < 0 || piece.rows < 0 || piece.row + piece.rows > value.rows) {
      throw Error("ERR_GLEANER_INTERNAL", piece.parameter + ": rows outside the parameter");
    }
    writer.write_rows(value.slice_rows(piece.row, piece.rows), piece.dtype);
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
  if (weights_aside_) throw Error("ERR_GLEANER_BUSY", "other weights are in place already");
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
  if (round_swapped_ || weights_aside_)
    throw Error("ERR_GLEANER_BUSY", "other weights are in place: a round cannot begin");
  const auto bytes = static_cast<size_t>(parameters_.block_floats()) * sizeof(float);
  if (round_weights_.data() == nullptr) round_weights_ = memory_.allocate(Purpose::weights, bytes);
  ops_->copy(parameters_.values(), Tensor::f32(round_weights_.f32(), 1, parameters_.block_floats()));
}

void Engine::swap_round() {
  if (round_weights_.data() == nullptr) throw Error("ERR_GLEANER_INTERNAL", "no round's weights were kept");
  if (weights_aside_) throw Error("ERR_GLEANER_BUSY", "other weights are in place already");
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
  if (weights_aside_ || round_swapped_)
    throw Error("ERR_GLEANER_BUSY", std::string(command) + " is not possible while other weights are in place");
}

void Engine::prepare_training(const TrainingSettings& settings, const OptimizerSettings& optimizer) {
  if (weights_aside_ || round_swapped_)
    throw Error("ERR_GLEANER_BUSY", "prepareTraining is not possible while other weights are in place");
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
