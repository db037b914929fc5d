// One model with its state and its commands. Knows no JavaScript: built and tested without Node. Not thread-safe: one
// engine thread calls it.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/memory_plan.h"
#include "learn/update.h"
#include "model/decoder.h"
#include "sample/sampler.h"

namespace gleaner {

struct EngineOptions {
  DecoderSpec spec;
  OpsOptions ops;
  size_t memory_limit_bytes = 0;  // 0: none
};

/// What has a value for each of a model's parameters, in blocks of one layout.
enum class Block : uint8_t { weights, round, optimizer };

/// Rows [row, row + rows) of a parameter in one of the blocks.
struct BlockRows {
  std::string parameter;
  int64_t row = 0;
  int64_t rows = 0;
  Block block = Block::weights;
  int32_t state = 0;  // which of the optimiser's
};

/// Rows that come from fp32, fp16 or bf16 bytes in a file.
struct LoadPiece : BlockRows {
  int32_t file = 0;     // index of the file
  uint64_t offset = 0;  // of the first byte
  DType dtype = DType::f32;
};

/// Rows that follow the previous piece's bytes in the file to be written.
struct SavePiece : BlockRows {
  DType dtype = DType::f32;
};

/// What of training lies outside the weights.
struct TrainingState {
  std::string optimizer;
  int64_t num_steps = 0;
  std::vector<std::string> states;  // torch's names of the optimiser's blocks
};

class Engine {
 public:
  explicit Engine(EngineOptions options);

  const DecoderSpec& spec() const { return options_.spec; }
  Memory& memory() { return memory_; }
  Ops& ops() { return *ops_; }
  Parameters& parameters() { return parameters_; }

  // --- weights
  /// Every piece is compared with its file's size before the first is read.
  void load(std::span<const std::string> files, std::span<const LoadPiece> pieces);
  void fill_random(uint64_t seed, double stddev);
  /// Writes header, then the pieces, beside `path`; then syncs and renames. digits_at: where in the header the file's
  /// CRC-32 goes.
  void save(const std::string& path, std::span<const std::byte> header, std::span<const SavePiece> pieces,
            std::optional<uint64_t> digits_at, const CheckAbort& check_abort);
  /// Pieces of any block from a file whose CRC-32 must be `crc`; nothing is changed before it is known to be. A round's
  /// block is made when pieces name it; num_steps, when given, becomes the optimiser's.
  void load_state(const std::string& path, uint64_t digits_at, uint32_t crc, std::span<const LoadPiece> pieces,
                  std::optional<int64_t> num_steps, const CheckAbort& check_abort);
  /// Copies rows of a parameter (or of its gradient) out, or new values in.
  std::vector<float> read(const std::string& parameter, bool gradient);
  void write(const std::string& parameter, std::span<const float> values);

  /// Today's weights are kept in the gradients' block while others are loaded for a pass; no update until they are
  /// back.
  void put_weights_aside();
  void bring_weights_back();
  /// Keeps a copy of today's weights as the round's; swap exchanges it with the weights, and back.
  void remember_round();
  void swap_round();

  // --- training and scoring
  void prepare_training(const TrainingSettings& settings, const OptimizerSettings& optimizer);
  ForwardResult score(const MicroBatch& batch, bool want_greedy);
  std::vector<float> logits(const MicroBatch& batch, std::span<const int32_t> rows);
  StepResult update(std::span<const MicroBatch> batches, const ObjectiveSettings& objective, const StepSettings& step,
                    const CheckAbort& check_abort);
  /// Gradients of the micro-batches are added and kept, without a step (for tests and tools); finish with
  /// clear_gradients.
  StepResult accumulate(std::span<const MicroBatch> batches, const ObjectiveSettings& objective,
                        const CheckAbort& check_abort);
  void clear_gradients();
  /// For an objective computed elsewhere: forward, backward for each micro-batch, then step.
  std::vector<float> forward(const MicroBatch& batch);
  void backward(std::span<const float> dlogprobs);
  StepResult step(double loss, const StepSettings& settings);
  void reset_optimizer();
  TrainingState training_state();

  // --- sampling
  std::vector<Response> generate(std::span<const Prompt> prompts, const GenerateSettings& settings,
                                 const GenerateCallbacks& callbacks);

 private:
  /// The rows as a matrix; a vector counts as [n, 1]. Throws when the block is not there or the rows are outside it.
  Tensor rows_of(const BlockRows& rows);
  Arena arena(size_t bytes);
  void reserve(const OpsLimits& limits, int64_t positions);
  void allocate_training(const TrainingSettings& settings, const OptimizerSettings& optimizer);
  void need_training(const char* command);
  void add_micro_batch(const MicroBatch& batch, const Objective& objective, StepResult& result);

  EngineOptions options_;
  Memory memory_;  // outlives all that is allocated from it
  std::unique_ptr<Ops> ops_;
  Parameters parameters_;
  Decoder decoder_;
  Updater updater_;
  Sampler sampler_;
  TrainingSettings training_;
  std::unique_ptr<Optimizer> optimizer_;
  Buffer arena_;
  Buffer round_weights_;
  bool weights_aside_ = false;
  bool round_swapped_ = false;
};

}  // namespace gleaner
