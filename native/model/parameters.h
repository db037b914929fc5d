// The parameters of a decoder: one block of values, and beside it, in the same order, gradients and packed copies.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory.h"
#include "model/spec.h"
#include "ops/ops.h"

namespace gleaner {

enum class ParameterInit : uint8_t { normal, zeros, ones };

/// A matrix [rows, cols], or a vector [1, n].
struct Parameter {
  std::string name;
  int64_t rows = 0;
  int64_t cols = 0;
  ParameterInit init = ParameterInit::normal;
  bool multiplied = false;  // a linear map's weight: gets packed copies
  size_t offset = 0;        // in floats, in the block of values and in that of gradients
  Weight weight;            // value and packed copies, once allocated
  Tensor gradient;          // once allocated
};

/// Every parameter that the spec asks for, in canonical order (src/models/layout.ts lists the same names).
std::vector<Parameter> list_parameters(const DecoderSpec& spec);

class Parameters {
 public:
  explicit Parameters(const DecoderSpec& spec);

  /// Floats of the block of values (each parameter starts at a multiple of 16).
  int64_t block_floats() const { return block_floats_; }
  int64_t packed_floats(const Ops& ops, bool backward) const;

  void allocate_values(Memory& memory);
  void allocate_packed(Memory& memory, const Ops& ops, bool backward);
  void allocate_gradients(Memory& memory);
  void release_gradients();
  bool has_gradients() const { return gradients_.data() != nullptr; }

  /// N(0, stddev²) for weights, ones for norm weights, zeros for biases; keyed by (seed, parameter, element).
  void fill_random(uint64_t seed, double stddev);
  /// To be called after values changed.
  void repack(Ops& ops);

  std::vector<Parameter>& all() { return parameters_; }
  /// Throws ERR_GLEANER_INTERNAL for a name that the spec does not have.
  Parameter& at(std::string_view name);
  Parameter* find(std::string_view name);
  /// All values, all gradients, as one row.
  Tensor values() const { return Tensor::f32(values_.f32(), 1, block_floats_); }
  Tensor gradients() const { return Tensor::f32(gradients_.f32(), 1, block_floats_); }

 private:
  std::vector<Parameter> parameters_;
  int64_t block_floats_ = 0;
  Buffer values_;
  Buffer gradients_;
  Buffer packed_;
};

}  // namespace gleaner
