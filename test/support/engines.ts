// Small real engines for tests: the golden models' weights, or random ones of a config, and what is compared of them.

import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GleanerError } from '../../src/common/errors.js';
import type { NativeObjective } from '../../src/engine/addon.js';
import { Engine, type EngineOptions, type TrainingOptions } from '../../src/engine/engine.js';
import type { Tree } from '../../src/engine/forest.js';
import type { TokenRow } from '../../src/engine/types.js';
import { goldenModel, relativeDifference } from '../golden/golden.js';
import type { ConfigValues } from '../models/tiny_folder.js';

export type Isa = NonNullable<EngineOptions['isa']>;
export type Tensors = ReadonlyMap<string, Float32Array>;

export const adamw = { name: 'adamw', learning_rate: 1e-3, betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0 } as const;
export const trainingOptions: TrainingOptions = {
  optimizer: adamw,
  activations: 'keep',
  micro_batch_tokens: 512,
  max_length: 256,
};

/** An engine of a golden model (its weights are random, but none is zero), closed afterwards. */
export async function withGolden<T>(
  name: string,
  options: EngineOptions,
  work: (engine: Engine) => Promise<T>,
): Promise<T> {
  await using engine = await Engine.load(goldenModel(name), { threads: 2, ...options });
  return await work(engine);
}

/** An engine of random weights from a config alone, closed afterwards. */
export async function withRandom<T>(
  config: ConfigValues,
  options: EngineOptions,
  work: (engine: Engine) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'gleaner-engine-'));
  try {
    await writeFile(join(folder, 'config.json'), JSON.stringify(config));
    await using engine = await Engine.load(folder, { threads: 2, init: 'random', seed: 5, ...options });
    return await work(engine);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The instruction sets of this machine. */
export async function presentIsas(): Promise<Isa[]> {
  const present: Isa[] = [];
  for (const isa of ['portable', 'avx2', 'avx512'] as const) {
    try {
      await withGolden('llama-mha', { isa }, async () => present.push(isa));
    } catch (error) {
      if (!(error instanceof GleanerError) || error.code !== 'ERR_GLEANER_USAGE') throw error;
    }
  }
  return present;
}

/** Numbers that a seed fixes (mulberry32): in [0, 1). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `length` ids of [first, first + count); every golden model has 96. */
export function randomIds(random: () => number, length: number, count = 96, first = 0): number[] {
  return Array.from({ length }, () => first + Math.floor(random() * count));
}

export function row(id: string, prompt_ids: readonly number[], response_ids: readonly number[]): TokenRow {
  return { id, prompt_ids: [...prompt_ids], response_ids: [...response_ids] };
}

export const sftObjective = (denominator: number): NativeObjective => ({
  name: 'sft',
  loss: '',
  beta: 0,
  nll_weight: 0,
  denominator,
  nll_denominator: 1,
});

/** Trees side by side as one, which no packing splits. */
export function joined(trees: readonly Tree[]): Tree {
  const all: Tree = { segments: [], sequences: [], pairs: [] };
  let rows = 0;
  for (const tree of trees) {
    const [segments, sequences] = [all.segments.length, all.sequences.length];
    for (const { parent, ids } of tree.segments)
      all.segments.push({ parent: parent < 0 ? -1 : segments + parent, ids });
    for (const sequence of tree.sequences) {
      const begin = rows;
      all.sequences.push({ rows: sequence.rows.map((place) => begin + place), tokens: sequence.tokens });
    }
    for (const pair of tree.pairs) {
      all.pairs.push({ ...pair, real: sequences + pair.real, generated: sequences + pair.generated });
    }
    rows += tree.segments.reduce((sum, { ids }) => sum + ids.length, 0);
  }
  return all;
}

/** Every tensor within `tolerance` of its norm; those whose gradient vanishes, of the largest norm's thousandth. */
export function assertSimilar(found: Tensors, wanted: Tensors, tolerance: number): void {
  assert.deepEqual([...found.keys()], [...wanted.keys()]);
  const norms = [...wanted.values()].map((values) => Math.hypot(...values));
  const floor = 1e-3 * Math.max(...norms);
  let place = 0;
  for (const [tensor, values] of wanted) {
    const norm = norms[place++] ?? 0;
    const difference =
      norm === 0
        ? Math.hypot(...(found.get(tensor) ?? []))
        : relativeDifference(found.get(tensor) ?? [], values) * norm;
    assert.ok(difference <= tolerance * Math.max(norm, floor), `${tensor} differs by ${difference} of ${norm}`);
  }
}

/** The same bits in every tensor (NaN and signed zeros as well). */
export function assertSameBits(found: Tensors, wanted: Tensors): void {
  assert.deepEqual([...found.keys()], [...wanted.keys()]);
  for (const [tensor, values] of wanted) assert.ok(sameBits(found.get(tensor), values), `${tensor} has other bits`);
}

export function sameBits(found: Float32Array | undefined, wanted: Float32Array): boolean {
  return found !== undefined && bytes(found).equals(bytes(wanted));
}

function bytes(values: Float32Array): Buffer {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
}
