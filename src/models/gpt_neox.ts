// GPTNeoXForCausalLM (Pythia): LayerNorm, exact GELU, biases, partial rotary embedding, parallel or sequential residual.
// q, k and v are one tensor, per head: [heads, 3, head_dim]. Defaults and switches as in transformers 5.18, models/gpt_neox.

import { z } from 'zod';
import {
  checkConfig,
  commonFields,
  configDtype,
  epsField,
  refuse,
  refuseUnless,
  sizeField,
  tokenIds,
} from './config.js';
import type { Family } from './family.js';
import { type FindPieces, layOut, type Piece, whole } from './layout.js';
import { readRope } from './rope.js';
import type { DecoderSpec } from './spec.js';

const schema = z.looseObject({
  ...commonFields,
  vocab_size: sizeField(50432),
  hidden_size: sizeField(6144),
  num_hidden_layers: commonFields.num_hidden_layers.default(44),
  num_attention_heads: commonFields.num_attention_heads.default(64),
  intermediate_size: sizeField(24576),
  // The tanh forms of GELU differ by up to 1e-3: another function.
  hidden_act: z.literal('gelu').default('gelu'),
  max_position_embeddings: sizeField(2048),
  layer_norm_eps: epsField(1e-5),
  use_parallel_residual: z.boolean().default(true),
  attention_bias: z.boolean().default(true),
});

export const gptNeox: Family = {
  architecture: 'GPTNeoXForCausalLM',
  model_type: 'gpt_neox',
  // The files say embed_out; the module is called lm_head since transformers 5.
  head_names: ['embed_out.weight', 'lm_head.weight'],
  ignored: /(\.attention\.(bias|masked_bias)|rotary_emb\.inv_freq)$/,
  describe(config) {
    const fields = checkConfig(schema, config);
    const { hidden_size: hidden, num_attention_heads: heads, max_position_embeddings } = fields;
    if (hidden % heads !== 0) refuse(config, 'hidden_size', hidden, `not a multiple of num_attention_heads (${heads})`);
    const head_dim = hidden / heads;
    refuseUnless(
      config,
      'head_dim',
      [head_dim],
      `GPTNeoXForCausalLM has hidden_size / num_attention_heads (${head_dim})`,
    );
    refuseUnless(config, 'sliding_window', [], 'GPTNeoXForCausalLM has no sliding window');
    const rope = readRope(config, {
      head_dim,
      max_position_embeddings,
      theta_key: 'rotary_emb_base',
      partial: { key: 'rotary_pct', absent: 0.25 },
    });
    const spec: DecoderSpec = {
      vocab: fields.vocab_size,
      hidden,
      layers: fields.num_hidden_layers,
      heads,
      kv_heads: heads,
      head_dim,
      intermediate: fields.intermediate_size,
      norm: 'layer_norm',
      norm_eps: fields.layer_norm_eps,
      mlp: 'gelu',
      parallel_residual: fields.use_parallel_residual,
      qkv_bias: fields.attention_bias,
      attention_output_bias: fields.attention_bias,
      mlp_bias: true,
      tied_head: fields.tie_word_embeddings,
      ...rope,
      sliding_window: 0,
      max_positions: max_position_embeddings,
    };
    return {
      architecture: gptNeox.architecture,
      spec,
      ...layOut(spec, gptNeoxPieces(spec)),
      initializer_range: fields.initializer_range,
      eos_token_ids: tokenIds(fields.eos_token_id, [2]),
      bos_token_id: fields.bos_token_id === undefined ? 0 : (fields.bos_token_id ?? undefined),
      dtype: configDtype(config, fields),
    };
  },
};

function gptNeoxPieces(spec: DecoderSpec): FindPieces {
  const { heads, head_dim } = spec;
  return (module, layer, suffix, rows) => {
    const at = (name: string): string => `gpt_neox.layers.${layer}.${name}.${suffix}`;
    // part 0: q, 1: k, 2: v
    const fused = (part: number): Piece[] =>
      Array.from({ length: heads }, (_, head) => ({
        tensor: at('attention.query_key_value'),
        tensor_row: (3 * head + part) * head_dim,
        rows: head_dim,
      }));
    switch (module) {
      case 'embed':
        return whole('gpt_neox.embed_in.weight', rows);
      case 'attention_norm':
        return whole(at('input_layernorm'), rows);
      case 'attention.q':
        return fused(0);
      case 'attention.kv':
        return [...fused(1), ...fused(2)];
      case 'attention.o':
        return whole(at('attention.dense'), rows);
      case 'mlp_norm':
        return whole(at('post_attention_layernorm'), rows);
      case 'mlp.up':
        return whole(at('mlp.dense_h_to_4h'), rows);
      case 'mlp.down':
        return whole(at('mlp.dense_4h_to_h'), rows);
      case 'final_norm':
        return whole(`gpt_neox.final_layer_norm.${suffix}`, rows);
      case 'head':
        return whole('embed_out.weight', rows);
      default:
        return [];
    }
  };
}
