// Reads the golden files of this folder (README.md says what is in them) and measures how far something is from them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';

export const goldenFolder = fileURLToPath(new URL('.', import.meta.url));
export const goldenModel = (name: string) => `${goldenFolder}models/${name}`;
export const goldenModels = [
  'neox-parallel',
  'neox-sequential',
  'neox-rotary-full',
  'llama-mha',
  'llama-gqa',
  'llama-tied-linear',
  'llama3-rope',
  'mistral-window',
] as const;
/** Those with `training`. */
export const trainedModels = ['neox-parallel', 'llama-gqa'] as const;
/** Those with config_v4.json. */
export const modelsWithOldConfig = ['neox-parallel', 'llama-tied-linear', 'llama3-rope', 'mistral-window'] as const;

const ids = z.array(z.int());
const values = z.array(z.number());
const row = z.object({ prompt_ids: ids, response_ids: ids });
const scoredRow = row.extend({ token_logprobs: values, logprob: z.number() });
const greedyRow = row.extend({ min_gap: z.number() });
const pair = z.object({
  prompt_ids: ids,
  real_ids: ids,
  generated_ids: ids,
  ref_real: z.number(),
  ref_generated: z.number(),
});
const pairLoss = z.object({
  form: z.enum(['logistic', 'hinge', 'linear']),
  beta: z.number(),
  nll_weight: z.number(),
  loss: z.number(),
  grad_norm: z.number(),
  /** Whether the safetensors file has them all. */
  gradients: z.boolean(),
  margins: values,
  rewards_real: values,
  rewards_generated: values,
  logps_real: values,
  logps_generated: values,
});
const trace = { learning_rates: values, losses: values, grad_norms: values };
const learningRate = { learning_rate: z.number(), eps: z.number(), weight_decay: z.number() };
const training = z.object({
  max_grad_norm: z.number(),
  num_steps: z.int(),
  /** Step i trains on batches[i % 5]. */
  batches: z.array(z.array(row)),
  /** Tensor name → elements that are not compared. */
  undetermined: z.record(z.string(), ids),
  optimizers: z.object({
    adamw: z.object({ settings: z.object({ ...learningRate, betas: z.tuple([z.number(), z.number()]) }), ...trace }),
    rmsprop: z.object({ settings: z.object({ ...learningRate, alpha: z.number() }), ...trace }),
  }),
});
const golden = z.object({
  eos_token_id: z.int(),
  vocab_size: z.int(),
  sequences: z.array(ids),
  logprobs: z.array(scoredRow),
  sft: z.object({ rows: z.array(row), loss: z.number(), num_targets: z.int(), grad_norm: z.number() }),
  pairs: z.object({ rows: z.array(pair), losses: z.record(z.string(), pairLoss) }),
  greedy: z.object({ rows: z.array(greedyRow) }),
  training: training.optional(),
});
const stories = z.object({
  logprobs: z.array(scoredRow.extend({ id: z.union([z.string(), z.int()]) })),
  sft: z.object({ loss: z.number(), grad_norm: z.number(), tensor_grad_norms: z.record(z.string(), z.number()) }),
  greedy: z.array(greedyRow.extend({ prompt: z.string(), response: z.string() })),
});
const schedules = z.object({
  num_steps: z.int(),
  learning_rate: z.number(),
  schedules: z.record(
    z.string(),
    z.object({ name: z.enum(['linear', 'cosine', 'constant']), warmup_steps: z.int(), learning_rates: values }),
  ),
});
const ropes = z.object({
  positions: ids,
  cases: z.record(
    z.string(),
    z.object({
      rope_parameters: z.record(z.string(), z.union([z.string(), z.number()])),
      head_dim: z.int(),
      inv_freq: values,
      cos: z.array(values),
      sin: z.array(values),
    }),
  ),
});

const readJson = (name: string): unknown => JSON.parse(readFileSync(`${goldenFolder}${name}.json`, 'utf8'));
export type Golden = z.infer<typeof golden>;
export const readGolden = (name: string): Golden => golden.parse(readJson(name));
export const readStories = (name: 'stories260K' | 'stories-neox') => stories.parse(readJson(name));
export const readSchedules = () => schedules.parse(readJson('schedules'));
export const readRopes = () => ropes.parse(readJson('rope'));

const header = z.record(
  z.string(),
  z
    .object({ dtype: z.string(), shape: ids, data_offsets: z.tuple([z.int(), z.int()]) })
    .or(z.record(z.string(), z.string())),
);

/** The fp32 tensors of a safetensors file whose name starts with `prefix`, without it. A reader of its own: gleaner's is under test. */
export function readTensors(path: string, prefix = ''): Map<string, Float32Array> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const tensors = new Map<string, Float32Array>();
  for (const [name, entry] of Object.entries(header.parse(JSON.parse(file.toString('utf8', 8, start))))) {
    if (!name.startsWith(prefix) || !('data_offsets' in entry) || !Array.isArray(entry.data_offsets)) continue;
    assert.equal(entry.dtype, 'F32', name);
    const [begin, end] = entry.data_offsets;
    const bytes = Uint8Array.from(file.subarray(start + begin, start + end));
    tensors.set(name.slice(prefix.length), new Float32Array(bytes.buffer));
  }
  return tensors;
}
export const goldenTensors = (name: string, prefix: string) =>
  readTensors(`${goldenFolder}${name}.safetensors`, prefix);

/** Largest absolute difference, elements in `without` left out. NaN where there is one. */
export function maxDifference(
  found: ArrayLike<number>,
  wanted: ArrayLike<number>,
  without: readonly number[] = [],
): number {
  assert.equal(found.length, wanted.length);
  const skipped = new Set(without);
  let largest = 0;
  for (let i = 0; i < wanted.length; ++i) {
    const difference = skipped.has(i) ? 0 : Math.abs(Number(found[i]) - Number(wanted[i]));
    if (!(difference <= largest)) largest = difference;
    if (Number.isNaN(largest)) break;
  }
  return largest;
}

/** Norm of the difference over the norm of `wanted`. */
export function relativeDifference(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  assert.equal(found.length, wanted.length);
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < wanted.length; ++i) {
    difference += (Number(found[i]) - Number(wanted[i])) ** 2;
    norm += Number(wanted[i]) ** 2;
  }
  return Math.sqrt(difference / norm);
}
