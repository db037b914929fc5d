// MistralForCausalLM: Llama's arithmetic and tensors, with a sliding window and defaults of its own (transformers 5.18, models/mistral).

import { z } from 'zod';
import { checkConfig, optionalSize, refuse, refuseUnless, sizeField } from './config.js';
import type { Family } from './family.js';
import { describeLlama, llamaFields } from './llama.js';

const schema = z.looseObject({
  ...llamaFields,
  intermediate_size: sizeField(14336),
  /** Absent: 8; null: as many as num_attention_heads. */
  num_key_value_heads: optionalSize.default(8),
  max_position_embeddings: sizeField(4096 * 32),
  /** Absent: 4096; null: none. */
  sliding_window: optionalSize.default(4096),
});

export const mistral: Family = {
  architecture: 'MistralForCausalLM',
  model_type: 'mistral',
  head_names: ['lm_head.weight'],
  ignored: /rotary_emb\.inv_freq$/,
  describe(config) {
    const fields = checkConfig(schema, config);
    refuseUnless(config, 'attention_bias', [false], 'MistralForCausalLM has no attention biases; LlamaForCausalLM has');
    refuseUnless(config, 'mlp_bias', [false], 'MistralForCausalLM has no MLP biases; LlamaForCausalLM has');
    const types = config.values.layer_types;
    const expected = fields.sliding_window === null ? 'full_attention' : 'sliding_attention';
    if (types !== undefined && types !== null && !(Array.isArray(types) && types.every((type) => type === expected))) {
      refuse(config, 'layer_types', types, 'layers that differ from each other are not supported');
    }
    return describeLlama(config, mistral.architecture, {
      ...fields,
      kv_heads: fields.num_key_value_heads ?? fields.num_attention_heads,
      attention_bias: false,
      mlp_bias: false,
      sliding_window: fields.sliding_window ?? 0,
    });
  },
};
