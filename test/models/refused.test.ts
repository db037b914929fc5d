// What the engine would compute wrongly is refused, naming file, key and value.

import * as assert from 'uvu/assert';
import { suite } from '../support/suite.js';
import { refused } from './errors.js';
import { type ConfigValues, describe, llamaConfig, mistralConfig, neoxConfig } from './tiny_folder.js';

const rope = (settings: ConfigValues): ConfigValues => ({ ...llamaConfig, rope_scaling: settings });
const llama3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 16,
};

const cases: [string, ConfigValues, string[]][] = [
  ['an unknown family', { ...llamaConfig, model_type: 'gpt2' }, ['model_type is "gpt2"']],
  ['no model_type', { ...llamaConfig, model_type: undefined }, ['model_type is missing']],
  [
    'another architecture',
    { ...llamaConfig, architectures: ['LlamaModel'] },
    ['architectures is ["LlamaModel"]', 'llama'],
  ],
  [
    'an architecture of another model_type',
    { ...llamaConfig, architectures: ['MistralForCausalLM'] },
    ['architectures', 'MistralForCausalLM'],
  ],
  [
    'quantised weights',
    { ...llamaConfig, quantization_config: { quant_method: 'gptq' } },
    ['quantization_config', 'quant_method'],
  ],
  ['layers that differ', { ...llamaConfig, per_layer_config: { 0: { head_dim: 4 } } }, ['per_layer_config']],
  ['an encoder', { ...llamaConfig, is_encoder_decoder: true }, ['is_encoder_decoder is true']],
  ['tanh GELU', { ...neoxConfig, hidden_act: 'gelu_new' }, ['hidden_act is "gelu_new"']],
  ['GELU in Llama', { ...llamaConfig, hidden_act: 'gelu' }, ['hidden_act is "gelu"']],
  ['yarn', rope({ rope_type: 'yarn', factor: 4, beta_fast: 32 }), ['rope_scaling.rope_type is "yarn"']],
  ['dynamic, old spelling', rope({ type: 'dynamic', factor: 4 }), ['rope_scaling.type is "dynamic"']],
  [
    'longrope in rope_parameters',
    { ...llamaConfig, rope_parameters: { rope_type: 'longrope', short_factor: [1] } },
    ['rope_parameters.rope_type is "longrope"'],
  ],
  ['a rope type that is no text', rope({ rope_type: 7 }), ['rope_scaling.rope_type is 7']],
  [
    'attention_factor',
    rope({ rope_type: 'linear', factor: 2, attention_factor: 1.2 }),
    ['rope_scaling.attention_factor is 1.2'],
  ],
  [
    'a rope per layer type',
    { ...mistralConfig, rope_parameters: { full_attention: { rope_theta: 1 } } },
    ['rope_parameters.full_attention'],
  ],
  ['linear without a factor', rope({ rope_type: 'linear' }), ['rope_scaling.factor is missing']],
  ['a factor of 0', rope({ rope_type: 'linear', factor: 0 }), ['rope_scaling.factor is 0']],
  ['llama3 without low_freq_factor', rope({ ...llama3, low_freq_factor: undefined }), ['rope_scaling.low_freq_factor']],
  ['llama3 with equal borders', rope({ ...llama3, high_freq_factor: 1 }), ['rope_scaling.high_freq_factor is 1']],
  [
    'llama3 with a context that is no number',
    { ...rope(llama3), original_max_position_embeddings: '16' },
    ['original_max_position_embeddings is "16"'],
  ],
  ['rope_scaling that is no object', { ...llamaConfig, rope_scaling: 'linear' }, ['rope_scaling is "linear"']],
  ['a negative theta', { ...llamaConfig, rope_theta: -1 }, ['rope_theta is -1']],
  ['partial rotary in Llama', { ...llamaConfig, partial_rotary_factor: 0.5 }, ['partial_rotary_factor is 0.5']],
  ['a rotated part above 1', { ...neoxConfig, rotary_pct: 1.5 }, ['partial_rotary_factor is 1.5']],
  ['an odd rotated part', { ...neoxConfig, rotary_pct: 0.75 }, ['3', 'even']],
  ['nothing rotated', { ...neoxConfig, rotary_pct: 0.1 }, ['even']],
  [
    'two bases that disagree',
    { ...neoxConfig, rope_theta: 500, rotary_emb_base: 10000 },
    ['rope_theta is 500', '10000'],
  ],
  [
    'a base under a name that is not obeyed',
    { ...neoxConfig, rope_theta: 500 },
    ['rope_theta is 500', 'rotary_emb_base'],
  ],
  ['two rotated parts that disagree', { ...neoxConfig, partial_rotary_factor: 1 }, ['partial_rotary_factor is 1']],
  ['a window in Llama', { ...llamaConfig, sliding_window: 8 }, ['sliding_window is 8']],
  ['a window of 0', { ...mistralConfig, sliding_window: 0 }, ['sliding_window is 0']],
  ['biases in Mistral', { ...mistralConfig, attention_bias: true }, ['attention_bias is true']],
  ['MLP biases in Mistral', { ...mistralConfig, mlp_bias: true }, ['mlp_bias is true']],
  [
    'mixed layers in Mistral',
    { ...mistralConfig, layer_types: ['full_attention', 'sliding_attention'] },
    ['layer_types'],
  ],
  [
    'heads that do not divide',
    { ...llamaConfig, hidden_size: 10, num_attention_heads: 4 },
    ['hidden_size is 10', '(4)'],
  ],
  ['key/value heads that do not divide', { ...llamaConfig, num_key_value_heads: 3 }, ['num_key_value_heads is 3']],
  ['a head_dim in GPT-NeoX', { ...neoxConfig, head_dim: 6 }, ['head_dim is 6']],
  ['a size that is text', { ...llamaConfig, hidden_size: '8' }, ['hidden_size is "8"', 'number']],
  ['a size that is null', { ...llamaConfig, vocab_size: null }, ['vocab_size is null']],
  ['a size of 0', { ...llamaConfig, intermediate_size: 0 }, ['intermediate_size is 0']],
  ['a matrix of one row', { ...neoxConfig, intermediate_size: 1 }, ['intermediate_size is 1']],
  ['half a layer', { ...llamaConfig, num_hidden_layers: 1.5 }, ['num_hidden_layers is 1.5']],
  ['a billion layers', { ...llamaConfig, num_hidden_layers: 1e9 }, ['num_hidden_layers is 1000000000']],
  [
    'many layers of many heads',
    { ...neoxConfig, num_hidden_layers: 1000, num_attention_heads: 1000, hidden_size: 1000 },
    ['num_hidden_layers is 1000'],
  ],
  ['a vocabulary beyond reason', { ...llamaConfig, vocab_size: 2 ** 40 }, ['vocab_size is 1099511627776']],
  ['a switch that is text', { ...llamaConfig, tie_word_embeddings: 'no' }, ['tie_word_embeddings is "no"']],
  ['fp64', { ...llamaConfig, torch_dtype: 'float64' }, ['torch_dtype is "float64"']],
  ['fp64 in the new spelling', { ...llamaConfig, torch_dtype: 'float32', dtype: 'float64' }, ['dtype is "float64"']],
  ['an EOS outside the vocabulary', { ...llamaConfig, eos_token_id: [2, 10] }, ['eos_token_id is 10', 'has 10']],
];

suite('config.json that cannot be obeyed', (test) => {
  for (const [name, config, parts] of cases) {
    test(`${name} is refused by name`, () => refused(() => describe(config), 'config.json: ', ...parts));
  }

  test('what changes nothing is accepted', () => {
    const plain = describe(llamaConfig);
    const extras = {
      attention_dropout: 0.1,
      use_cache: true,
      pretraining_tp: 1,
      sliding_window: null,
      quantization_config: null,
      some_future_key: [1, 2],
    };
    assert.equal(
      describe({ ...llamaConfig, ...extras, hidden_act: 'swish', rope_parameters: {}, partial_rotary_factor: 1 }),
      plain,
    );
    assert.equal(
      describe({ ...neoxConfig, head_dim: 4, rope_theta: 10000, partial_rotary_factor: 0.5 }),
      describe(neoxConfig),
    );
    const window = { sliding_window: 8, layer_types: ['sliding_attention', 'sliding_attention'] };
    assert.is(describe({ ...mistralConfig, ...window, attention_bias: false }).spec.sliding_window, 8);
  });
});
