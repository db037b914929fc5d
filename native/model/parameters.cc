// One list of names and shapes serves loading, training, saving and the memory plan.
#include "model/parameters.h"

#include "base/error.h"
#include "base/philox.h"

namespace gleaner {

std::vector<Parameter> list_parameters(const DecoderSpec& spec) {
  std::vector<Parameter> list;
  const auto add = [&](std::string name, int64_t rows, int64_t cols, ParameterInit init, bool multiplied) {
    Parameter& parameter = list.emplace_back();
    parameter.name = std::move(name);
    parameter.rows = rows;
    parameter.cols = cols;
    parameter.init = init;
    parameter.multiplied = multiplied;
  };
  const auto norm = [&](const std::string& name) {
    add(name + ".weight", 1, spec.hidden, ParameterInit::ones, false);
    if (spec.norm == NormKind::layer_norm) add(name + ".bias", 1, spec.hidden, ParameterInit::zeros, false);
  };
  const auto linear = [&](const std::string& name, int64_t out, int64_t in, bool bias) {
    add(name + ".weight", out, in, ParameterInit::normal, true);
    if (bias) add(name + ".bias", 1, out, ParameterInit::zeros, false);
  };
  add("embed.weight", spec.vocab, spec.hidden, ParameterInit::normal, spec.tied_head);
  for (int64_t i = 0; i < spec.layers; ++i) {
    const std::string layer = "layers." + std::to_string(i) + ".";
    norm(layer + "attention_norm");
    linear(layer + "attention.q", spec.heads * spec.head_dim, spec.hidden, spec.qkv_bias);
    linear(layer + "attention.kv", 2 * spec.kv_heads * spec.head_dim, spec.hidden, spec.qkv_bias);
    linear(layer + "attention.o", spec.hidden, spec.heads * spec.head_dim, spec.attention_output_bias);
    norm(layer + "mlp_norm");
    linear(layer + "mlp.up", spec.mlp == MlpKind::swiglu ? 2 * spec.intermediate : spec.intermediate, spec.hidden,
           spec.mlp_bias);
    linear(layer + "mlp.down", spec.hidden, spec.intermediate, spec.mlp_bias);
  }
  norm("final_norm");
  if (!spec.tied_head) linear("head", spec.vocab, spec.hidden, false);
  return list;
}

Parameters::Parameters(const DecoderSpec& spec) : parameters_(list_parameters(spec)) {
  for (Parameter& parameter : parameters_) {
    parameter.offset = static_cast<size_t>(block_floats_);
    block_floats_ += static_cast<int64_t>(float_bytes(parameter.rows, parameter.cols) / sizeof(float) + 15) / 16 * 16;
  }
  float_bytes(1, block_floats_);
}

int64_t Parameters::packed_floats(const Ops& ops, bool backward) const {
  size_t floats = 0;
  for (const Parameter& parameter : parameters_) {
    if (!parameter.multiplied) continue;
    floats += (ops.packed_forward_floats(parameter.rows, parameter.cols) + 15) / 16 * 16;
    if (backward) floats += (ops.packed_backward_floats(parameter.rows, parameter.cols) + 15) / 16 * 16;
  }
  return static_cast<int64_t>(floats);
}

void Parameters::allocate_values(Memory& memory) {
  values_ = memory.allocate(Purpose::weights, static_cast<size_t>(block_floats_) * sizeof(float));
  for (Parameter& parameter : parameters_) {
    parameter.weight.value = Tensor::f32(values_.f32() + parameter.offset, parameter.rows, parameter.cols);
  }
}

void Parameters::allocate_packed(Memory& memory, const Ops& ops, bool backward) {
  packed_ = Buffer{};
  packed_ = memory.allocate(Purpose::packed_weights, static_cast<size_t>(packed_floats(ops, backward)) * sizeof(float));
  float* next = packed_.f32();
  for (Parameter& parameter : parameters_) {
    if (!parameter.multiplied) continue;
    parameter.weight.packed_forward = next;
    next += (ops.packed_forward_floats(parameter.rows, parameter.cols) + 15) / 16 * 16;
    parameter.weight.packed_backward = backward ? next : nullptr;
    if (backward) next += (ops.packed_backward_floats(parameter.rows, parameter.cols) + 15) / 16 * 16;
  }
}

void Parameters::allocate_gradients(Memory& memory) {
  if (has_gradients()) return;
  gradients_ = memory.allocate(Purpose::gradients, static_cast<size_t>(block_floats_) * sizeof(float));
  for (Parameter& parameter : parameters_) {
    parameter.gradient = Tensor::f32(gradients_.f32() + parameter.offset, parameter.rows, parameter.cols);
  }
}

void Parameters::release_gradients() {
  gradients_ = Buffer{};
  for (Parameter& parameter : parameters_) parameter.gradient = Tensor{};
}

void Parameters::fill_random(uint64_t seed, double stddev) {
  for (size_t index = 0; index < parameters_.size(); ++index) {
    const Parameter& parameter = parameters_[index];
    float* value = parameter.weight.value.f32();
    for (int64_t i = 0; i < parameter.rows * parameter.cols; ++i) {
      switch (parameter.init) {
        case ParameterInit::zeros:
          value[i] = 0;
          break;
        case ParameterInit::ones:
          value[i] = 1;
          break;
        case ParameterInit::normal: {
          const auto words = random_words(seed, RandomPurpose::init,
                                          (static_cast<uint64_t>(index) << 40) | static_cast<uint64_t>(i), 0);
          value[i] = static_cast<float>(stddev * normal_from(words[0], words[1]));
          break;
        }
      }
    }
  }
}

void Parameters::repack(Ops& ops) {
  for (const Parameter& parameter : parameters_) {
    if (parameter.multiplied) ops.pack(parameter.weight);
  }
}

Parameter* Parameters::find(std::string_view name) {
  for (Parameter& parameter : parameters_) {
    if (parameter.name == name) return &parameter;
  }
  return nullptr;
}

Parameter& Parameters::at(std::string_view name) {
  Parameter* parameter = find(name);
  if (parameter == nullptr) throw Error("ERR_GLEANER_INTERNAL", "this model has no parameter " + std::string(name));
  return *parameter;
}

}  // namespace gleaner
