// Tiny model folders for tests: a config.json, weights of a known pattern, and ways to spoil either.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeModel } from '../../src/models/families.js';
import { parseJsonObject } from '../../src/models/json.js';
import { writeHeader } from '../../src/models/safetensors.js';
import type { ModelDescription } from '../../src/models/spec.js';

export type ConfigValues = Record<string, unknown>;

export const neoxConfig: ConfigValues = {
  architectures: ['GPTNeoXForCausalLM'],
  model_type: 'gpt_neox',
  vocab_size: 10,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: 12,
  max_position_embeddings: 32,
  rotary_pct: 0.5,
  eos_token_id: 0,
};

export const llamaConfig: ConfigValues = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 10,
  hidden_size: 8,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 12,
  max_position_embeddings: 32,
  eos_token_id: 2,
};

export const mistralConfig: ConfigValues = {
  ...llamaConfig,
  architectures: ['MistralForCausalLM'],
  model_type: 'mistral',
};

export function configOf(values: ConfigValues, file = 'config.json') {
  return parseJsonObject(new TextEncoder().encode(JSON.stringify(values)), file);
}

export function describe(values: ConfigValues): ModelDescription {
  return describeModel(configOf(values));
}

export interface TestTensor {
  name: string;
  dtype: string;
  shape: number[];
  data: Uint8Array;
}

/** fp32 tensors of a description; value i of tensor t is 1000·t + i. */
export function tensorsOf(description: ModelDescription): TestTensor[] {
  return description.tensors.map(({ name, shape }, t) => {
    const size = shape.reduce((product, length) => product * length, 1);
    return f32Tensor(
      name,
      shape,
      Float32Array.from({ length: size }, (_, i) => 1000 * t + i),
    );
  });
}

export function f32Tensor(name: string, shape: number[], values: Float32Array): TestTensor {
  return { name, dtype: 'F32', shape, data: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

export function safetensorsBytes(tensors: readonly TestTensor[]): Uint8Array {
  return Buffer.concat([writeHeader(tensors).header, ...tensors.map((tensor) => tensor.data)]);
}

/** A file with a header of one's own. */
export function withHeader(header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}

/** Runs work in a folder that is gone afterwards. */
export async function inFolder(
  files: Record<string, string | Uint8Array>,
  work: (path: string) => Promise<void>,
): Promise<void> {
  const path = await mkdtemp(join(tmpdir(), 'gleaner-models-'));
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
    await work(path);
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}

export function modelFiles(
  values: ConfigValues,
  tensors: readonly TestTensor[] = tensorsOf(describe(values)),
): Record<string, string | Uint8Array> {
  return { 'config.json': JSON.stringify(values), 'model.safetensors': safetensorsBytes(tensors) };
}

/** The same model in two shards, tensors dealt in turn. */
export function shardedFiles(values: ConfigValues): Record<string, string | Uint8Array> {
  const tensors = tensorsOf(describe(values));
  const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
  const shards = names.map((_, shard) => tensors.filter((__, index) => index % 2 === shard));
  const weight_map = Object.fromEntries(tensors.map((tensor, index) => [tensor.name, names[index % 2]]));
  return {
    'config.json': JSON.stringify(values),
    'model.safetensors.index.json': JSON.stringify({ metadata: { total_size: 1 }, weight_map }),
    [names[0]]: safetensorsBytes(shards[0] ?? []),
    [names[1]]: safetensorsBytes(shards[1] ?? []),
  };
}
