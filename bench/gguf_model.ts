// A model folder as the GGUF file that llama.cpp loads: the same fp32 weights under its names, and a vocabulary of placeholder words.

import type { GgufTensor, GgufValue } from './gguf.js';

export interface HfConfig {
  model_type: string;
  vocab_size: number;
  hidden_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads?: number | undefined;
  intermediate_size: number;
  max_position_embeddings: number;
  rotary_pct?: number | undefined;
}

type Tensors = ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>;

export function ggufOfModel(
  config: HfConfig,
  tensors: Tensors,
): { metadata: Record<string, GgufValue>; tensors: GgufTensor[] } {
  return config.model_type === 'llama' ? llama(config, tensors) : neox(config, tensors);
}

const text = (value: string): GgufValue => ({ type: 'string', value });
const whole = (value: number): GgufValue => ({ type: 'u32', value });
const float = (value: number): GgufValue => ({ type: 'f32', value });

function sizes(name: string, config: HfConfig): Record<string, GgufValue> {
  return {
    'general.architecture': text(name),
    'general.name': text('bench'),
    'general.file_type': whole(0),
    [`${name}.context_length`]: whole(config.max_position_embeddings),
    [`${name}.embedding_length`]: whole(config.hidden_size),
    [`${name}.block_count`]: whole(config.num_hidden_layers),
    [`${name}.feed_forward_length`]: whole(config.intermediate_size),
    [`${name}.attention.head_count`]: whole(config.num_attention_heads),
    [`${name}.vocab_size`]: whole(config.vocab_size),
  };
}

function llama(config: HfConfig, tensors: Tensors) {
  const { vocab_size, num_hidden_layers: layers, num_attention_heads: heads, hidden_size } = config;
  const kvHeads = config.num_key_value_heads ?? heads;
  const bytes = Math.min(256, vocab_size - 3);
  const words = vocab_size - 3 - bytes;
  const metadata: Record<string, GgufValue> = {
    ...sizes('llama', config),
    'llama.attention.head_count_kv': whole(kvHeads),
    'llama.attention.layer_norm_rms_epsilon': float(1e-5),
    'llama.rope.dimension_count': whole(hidden_size / heads),
    'llama.rope.freq_base': float(10000),
    'tokenizer.ggml.model': text('llama'),
    'tokenizer.ggml.tokens': {
      type: 'strings',
      value: [
        '<unk>',
        '<s>',
        '</s>',
        ...Array.from({ length: bytes }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
        ...Array.from({ length: words }, (_, i) => `t${i}`),
      ],
    },
    'tokenizer.ggml.scores': { type: 'floats', value: Array.from({ length: vocab_size }, (_, i) => -i) },
    'tokenizer.ggml.token_type': {
      type: 'ints',
      value: [2, 3, 3, ...new Array<number>(bytes).fill(6), ...new Array<number>(words).fill(1)],
    },
    'tokenizer.ggml.bos_token_id': whole(1),
    'tokenizer.ggml.eos_token_id': whole(2),
    'tokenizer.ggml.unknown_token_id': whole(0),
  };
  const out: GgufTensor[] = [
    named('token_embd.weight', tensors, 'model.embed_tokens.weight'),
    named('output_norm.weight', tensors, 'model.norm.weight'),
  ];
  for (let i = 0; i < layers; ++i) {
    const [to, from] = [`blk.${i}.`, `model.layers.${i}.`];
    const q = named(`${to}attn_q.weight`, tensors, `${from}self_attn.q_proj.weight`);
    const k = named(`${to}attn_k.weight`, tensors, `${from}self_attn.k_proj.weight`);
    out.push(
      named(`${to}attn_norm.weight`, tensors, `${from}input_layernorm.weight`),
      { ...q, data: interleaved(q.data, heads, hidden_size) },
      { ...k, data: interleaved(k.data, kvHeads, hidden_size) },
      named(`${to}attn_v.weight`, tensors, `${from}self_attn.v_proj.weight`),
      named(`${to}attn_output.weight`, tensors, `${from}self_attn.o_proj.weight`),
      named(`${to}ffn_norm.weight`, tensors, `${from}post_attention_layernorm.weight`),
      named(`${to}ffn_gate.weight`, tensors, `${from}mlp.gate_proj.weight`),
      named(`${to}ffn_up.weight`, tensors, `${from}mlp.up_proj.weight`),
      named(`${to}ffn_down.weight`, tensors, `${from}mlp.down_proj.weight`),
    );
  }
  return { metadata, tensors: out };
}

function neox(config: HfConfig, tensors: Tensors) {
  const { vocab_size, num_hidden_layers: layers, num_attention_heads: heads, hidden_size } = config;
  const metadata: Record<string, GgufValue> = {
    ...sizes('gptneox', config),
    'gptneox.attention.layer_norm_epsilon': float(1e-5),
    'gptneox.rope.dimension_count': whole((hidden_size / heads) * (config.rotary_pct ?? 0.25)),
    'gptneox.use_parallel_residual': { type: 'bool', value: true },
    'tokenizer.ggml.model': text('gpt2'),
    'tokenizer.ggml.pre': text('olmo'),
    'tokenizer.ggml.tokens': { type: 'strings', value: Array.from({ length: vocab_size }, (_, i) => `t${i}`) },
    'tokenizer.ggml.token_type': {
      type: 'ints',
      value: Array.from({ length: vocab_size }, (_, i) => (i === 0 ? 3 : 1)),
    },
    'tokenizer.ggml.merges': { type: 'strings', value: ['t 0'] },
    'tokenizer.ggml.bos_token_id': whole(0),
    'tokenizer.ggml.eos_token_id': whole(0),
  };
  const both = (to: string, from: string) =>
    ['weight', 'bias'].map((kind) => named(`${to}.${kind}`, tensors, `${from}.${kind}`));
  const out: GgufTensor[] = [
    named('token_embd.weight', tensors, 'gpt_neox.embed_in.weight'),
    ...both('output_norm', 'gpt_neox.final_layer_norm'),
    named('output.weight', tensors, 'embed_out.weight'),
  ];
  for (let i = 0; i < layers; ++i) {
    const [to, from] = [`blk.${i}.`, `gpt_neox.layers.${i}.`];
    out.push(
      ...both(`${to}attn_norm`, `${from}input_layernorm`),
      ...both(`${to}attn_qkv`, `${from}attention.query_key_value`).map((one) => ({
        ...one,
        data: byPart(one.data, heads, one.data.length / (3 * heads)),
      })),
      ...both(`${to}attn_output`, `${from}attention.dense`),
      ...both(`${to}ffn_norm`, `${from}post_attention_layernorm`),
      ...both(`${to}ffn_up`, `${from}mlp.dense_h_to_4h`),
      ...both(`${to}ffn_down`, `${from}mlp.dense_4h_to_h`),
    );
  }
  return { metadata, tensors: out };
}

function named(name: string, tensors: Tensors, from: string): GgufTensor {
  const found = tensors.get(from);
  if (!found) throw new RangeError(`the model has no ${from}`);
  return { name, ...found };
}

/** Rows of a head from (first half, second half) to pairs side by side: llama.cpp rotates neighbours. */
export function interleaved(rows: Float32Array, heads: number, cols: number): Float32Array {
  const dim = rows.length / cols / heads;
  const out = new Float32Array(rows.length);
  for (let head = 0; head < heads; ++head) {
    for (let i = 0; i < dim; ++i) {
      const from = head * dim + (i % 2) * (dim / 2) + Math.floor(i / 2);
      out.set(rows.subarray(from * cols, (from + 1) * cols), (head * dim + i) * cols);
    }
  }
  return out;
}

/** From q, k, v within each head to all heads' q, then k, then v. `block`: numbers of one part of one head. */
export function byPart(values: Float32Array, heads: number, block: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let head = 0; head < heads; ++head) {
    for (let part = 0; part < 3; ++part) {
      const from = (head * 3 + part) * block;
      out.set(values.subarray(from, from + block), (part * heads + head) * block);
    }
  }
  return out;
}
