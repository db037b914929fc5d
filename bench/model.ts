// The bench's models: made from a config alone, with random weights that gleaner draws and saves, so that all sides load the same files.

import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Engine } from '../src/engine/engine.js';
import type { DecoderSpec } from '../src/models/spec.js';

export interface Shape {
  family: 'gpt_neox' | 'llama';
  hidden: number;
  layers: number;
  heads: number;
  kv_heads: number;
  intermediate: number;
  vocab: number;
  positions: number;
}

const neox = (hidden: number, layers: number, heads: number): Shape => ({
  family: 'gpt_neox',
  hidden,
  layers,
  heads,
  kv_heads: heads,
  intermediate: 4 * hidden,
  vocab: 50304,
  positions: 4096,
});

/** GPT-NeoX in the shapes of Pythia, and two small Llamas with tied embeddings. */
export const shapes = {
  '14m': neox(128, 6, 4),
  '70m': neox(512, 6, 8),
  '160m': neox(768, 12, 12),
  llama15m: {
    family: 'llama',
    hidden: 288,
    layers: 6,
    heads: 6,
    kv_heads: 6,
    intermediate: 768,
    vocab: 32000,
    positions: 2048,
  },
  stories260k: {
    family: 'llama',
    hidden: 64,
    layers: 5,
    heads: 8,
    kv_heads: 4,
    intermediate: 172,
    vocab: 512,
    positions: 512,
  },
} as const satisfies Record<string, Shape>;

export type ModelName = keyof typeof shapes;

const SEED = 7;

/** config.json and model.safetensors in `folder`/NAME, unless they are there; answers where. The weights depend on shape and seed alone. */
export async function writeModel(folder: string, name: ModelName): Promise<string> {
  const model = join(folder, name);
  if (existsSync(join(model, 'model.safetensors'))) return model;
  const config = join(folder, `${name}-config`);
  await mkdir(config, { recursive: true });
  await writeFile(join(config, 'config.json'), `${JSON.stringify(modelConfig(shapes[name]), null, 2)}\n`);
  await using engine = await Engine.load(config, { init: 'random', seed: SEED, threads: 1 });
  await engine.save(model);
  return model;
}

/** config.json as transformers writes it. */
export function modelConfig({ family, hidden, layers, heads, kv_heads, intermediate, vocab, positions }: Shape) {
  const sizes = {
    vocab_size: vocab,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: intermediate,
    max_position_embeddings: positions,
    initializer_range: 0.02,
    torch_dtype: 'float32',
  };
  if (family === 'llama') {
    return {
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      ...sizes,
      num_key_value_heads: kv_heads,
      hidden_act: 'silu',
      rms_norm_eps: 1e-5,
      rope_theta: 10000,
      attention_bias: false,
      mlp_bias: false,
      tie_word_embeddings: true,
      bos_token_id: 1,
      eos_token_id: 2,
    };
  }
  return {
    architectures: ['GPTNeoXForCausalLM'],
    model_type: 'gpt_neox',
    ...sizes,
    hidden_act: 'gelu',
    rotary_pct: 0.25,
    rotary_emb_base: 10000,
    use_parallel_residual: true,
    attention_bias: true,
    layer_norm_eps: 1e-5,
    tie_word_embeddings: false,
    bos_token_id: 0,
    eos_token_id: 0,
  };
}

/** A sequence's part of the work: tokens after those it attends to besides itself. */
export interface Span {
  tokens: number;
  before: number;
}

/** Forward and backward of the needed arithmetic: 6 FLOP a weight and token, 12 a layer, hidden unit and attended pair of tokens. */
export function trainingFlops(spec: DecoderSpec, spans: readonly Span[], targets: number): number {
  return 3 * forwardFlops(spec, spans, targets);
}

/** Forward only: 2 FLOP a weight and token, 4 a layer, hidden unit and attended pair; the head on `targets` rows. */
export function forwardFlops(spec: DecoderSpec, spans: readonly Span[], targets: number): number {
  const { hidden, layers, vocab, heads, head_dim } = spec;
  let tokens = 0;
  let attended = 0;
  for (const span of spans) {
    tokens += span.tokens;
    attended += span.tokens * span.before + span.tokens ** 2 / 2;
  }
  return (
    2 * layers * layerWeights(spec) * tokens + 2 * hidden * vocab * targets + 4 * layers * heads * head_dim * attended
  );
}

function layerWeights({ hidden, heads, kv_heads, head_dim, intermediate, mlp }: DecoderSpec): number {
  return 2 * hidden * head_dim * (heads + kv_heads) + (mlp === 'swiglu' ? 3 : 2) * hidden * intermediate;
}

/** The weights that one decoding pass must read, whatever its batch: every layer's and the head's, fp32. */
export function passBytes(spec: DecoderSpec): number {
  return 4 * (spec.layers * layerWeights(spec) + spec.hidden * spec.vocab);
}

/** Keys and values of `positions`, fp32. */
export function cacheBytes({ layers, kv_heads, head_dim }: DecoderSpec, positions: number): number {
  return 4 * 2 * layers * kv_heads * head_dim * positions;
}
