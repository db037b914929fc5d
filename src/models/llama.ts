// LlamaForCausalLM: RMSNorm, SwiGLU, grouped-query attention, rotary embedding over whole heads.
// Defaults and switches as in transformers 5.18, models/llama. Mistral has the same tensors and reuses what is here.

import { z } from 'zod';
import {
  type Config,
  checkConfig,
  commonFields,
  configDtype,
  epsField,
  optionalSize,
  refuse,
  refuseUnless,
  sizeField,
  tokenIds,
} from './config.js';
import type { Family } from './family.js';
import { type FindPieces, layOut, whole } from './layout.js';
import { readRope } from './rope.js';
import type { DecoderSpec, ModelDescription } from './spec.js';

/** What Llama and Mistral both have. */
export const llamaFields = {
  ...commonFields,
  vocab_size: sizeField(32000),
  hidden_size: sizeField(4096),
  num_hidden_layers: commonFields.num_hidden_layers.default(32),
  num_attention_heads: commonFields.num_attention_heads.default(32),
  head_dim: optionalSize,
  hidden_act: z.enum(['silu', 'swish']).default('silu'),
  rms_norm_eps: epsField(1e-6),
};

const schema = z.looseObject({
  ...llamaFields,
  intermediate_size: sizeField(11008),
  num_key_value_heads: optionalSize,
  max_position_embeddings: sizeField(2048),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
});

export const llama: Family = {
  architecture: 'LlamaForCausalLM',
  model_type: 'llama',
  head_names: ['lm_head.weight'],
  ignored: /rotary_emb\.inv_freq$/,
  describe(config) {
    const fields = checkConfig(schema, config);
    refuseUnless(config, 'sliding_window', [], 'LlamaForCausalLM has no sliding window; MistralForCausalLM has');
    return describeLlama(config, llama.architecture, {
      ...fields,
      kv_heads: fields.num_key_value_heads ?? fields.num_attention_heads,
      sliding_window: 0,
    });
  },
};

export interface LlamaSettings extends z.output<typeof schema> {
  kv_heads: number;
  sliding_window: number;
}

export function describeLlama(config: Config, architecture: string, fields: LlamaSettings): ModelDescription {
  const { num_attention_heads: heads, kv_heads, max_position_embeddings } = fields;
  if (fields.head_dim == null && fields.hidden_size % heads !== 0) {
    refuse(
      config,
      'hidden_size',
      fields.hidden_size,
      `not a multiple of num_attention_heads (${heads}), and head_dim is not given`,
    );
  }
  if (heads % kv_heads !== 0) {
    refuse(config, 'num_key_value_heads', kv_heads, `num_attention_heads (${heads}) is not a multiple of it`);
  }
  const head_dim = fields.head_dim ?? fields.hidden_size / heads;
  const spec: DecoderSpec = {
    vocab: fields.vocab_size,
    hidden: fields.hidden_size,
    layers: fields.num_hidden_layers,
    heads,
    kv_heads,
    head_dim,
    intermediate: fields.intermediate_size,
    norm: 'rms_norm',
    norm_eps: fields.rms_norm_eps,
    mlp: 'swiglu',
    parallel_residual: false,
    qkv_bias: fields.attention_bias,
    attention_output_bias: fields.attention_bias,
    mlp_bias: fields.mlp_bias,
    tied_head: fields.tie_word_embeddings,
    ...readRope(config, { head_dim, max_position_embeddings, theta_key: 'rope_theta' }),
    sliding_window: fields.sliding_window,
    max_positions: max_position_embeddings,
  };
  return {
    architecture,
    spec,
    ...layOut(spec, llamaPieces(spec)),
    initializer_range: fields.initializer_range,
    eos_token_ids: tokenIds(fields.eos_token_id, [2]),
    bos_token_id: fields.bos_token_id === undefined ? 1 : (fields.bos_token_id ?? undefined),
    dtype: configDtype(config, fields),
  };
}

function llamaPieces(spec: DecoderSpec): FindPieces {
  const kv = spec.kv_heads * spec.head_dim;
  return (module, layer, suffix, rows) => {
    const at = (name: string): string => `model.layers.${layer}.${name}.${suffix}`;
    switch (module) {
      case 'embed':
        return whole('model.embed_tokens.weight', rows);
      case 'attention_norm':
        return whole(at('input_layernorm'), rows);
      case 'attention.q':
        return whole(at('self_attn.q_proj'), rows);
      case 'attention.kv':
        return [...whole(at('self_attn.k_proj'), kv), ...whole(at('self_attn.v_proj'), kv)];
      case 'attention.o':
        return whole(at('self_attn.o_proj'), rows);
      case 'mlp_norm':
        return whole(at('post_attention_layernorm'), rows);
      case 'mlp.up':
        return [...whole(at('mlp.gate_proj'), spec.intermediate), ...whole(at('mlp.up_proj'), spec.intermediate)];
      case 'mlp.down':
        return whole(at('mlp.down_proj'), rows);
      case 'final_norm':
        return whole('model.norm.weight', rows);
      case 'head':
        return whole('lm_head.weight', rows);
      default:
        return [];
    }
  };
}
