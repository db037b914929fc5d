// The bench's models: made from a config alone, with random weights that gleaner draws and saves, so that both sides load the same files.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Engine } from '../src/engine/engine.js';
import type { DecoderSpec } from '../src/models/spec.js';

export interface Shape {
  hidden: number;
  layers: number;
  heads: number;
  intermediate: number;
}

/** GPT-NeoX in the shapes of Pythia. */
export const shapes = {
  '14m': { hidden: 128, layers: 6, heads: 4, intermediate: 512 },
} as const satisfies Record<string, Shape>;

export const VOCAB = 50304;

/** Writes config.json and model.safetensors below `folder`; answers where. The weights depend on shape and seed alone. */
export async function writeModel(folder: string, shape: Shape, seed: number): Promise<string> {
  const [config, model] = [join(folder, 'config'), join(folder, 'model')];
  await mkdir(config, { recursive: true });
  await writeFile(join(config, 'config.json'), `${JSON.stringify(neoxConfig(shape), null, 2)}\n`);
  await using engine = await Engine.load(config, { init: 'random', seed, threads: 1 });
  await engine.save(model);
  return model;
}

function neoxConfig({ hidden, layers, heads, intermediate }: Shape) {
  return {
    architectures: ['GPTNeoXForCausalLM'],
    model_type: 'gpt_neox',
    vocab_size: VOCAB,
    hidden_size: hidden,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    intermediate_size: intermediate,
    hidden_act: 'gelu',
    rotary_pct: 0.25,
    rotary_emb_base: 10000,
    max_position_embeddings: 2048,
    use_parallel_residual: true,
    attention_bias: true,
    layer_norm_eps: 1e-5,
    initializer_range: 0.02,
    tie_word_embeddings: false,
    bos_token_id: 0,
    eos_token_id: 0,
    torch_dtype: 'float32',
  };
}

/** A sequence's part of the work: tokens after those it attends to besides itself. */
export interface Span {
  tokens: number;
  before: number;
}

/** Forward and backward of the needed arithmetic: 6 FLOP a weight and token, 12 a layer, hidden unit and attended pair of tokens. */
export function trainingFlops(spec: DecoderSpec, spans: readonly Span[], targets: number): number {
  const { hidden, layers, vocab, heads, kv_heads, head_dim, intermediate, mlp } = spec;
  const attention = 2 * hidden * head_dim * (heads + kv_heads);
  const feedForward = (mlp === 'swiglu' ? 3 : 2) * hidden * intermediate;
  let tokens = 0;
  let attended = 0;
  for (const span of spans) {
    tokens += span.tokens;
    attended += span.tokens * span.before + span.tokens ** 2 / 2;
  }
  return (
    6 * layers * (attention + feedForward) * tokens +
    6 * hidden * vocab * targets +
    12 * layers * heads * head_dim * attended
  );
}
