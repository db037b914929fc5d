// What a run will do, before its first step: rounds, steps, tokens, and memory in bytes by purpose. `auto` sizes are chosen here: the largest
// that fit. A run that cannot fit is refused with the settings that would.

import { freemem } from 'node:os';
import { GleanerError } from '../common/errors.js';
import type { TokenSource } from '../data/stream/row_source.js';
import { Engine, engineInfo } from '../engine/engine.js';
import type { MemoryPlan, PlanSettings, TokenRow } from '../engine/types.js';
import type { PlannedRound } from '../methods/method.js';
import { methods } from '../methods/methods.js';
import type { DecoderSpec, ModelDescription } from '../models/spec.js';
import type { Recipe } from './schema.js';

/** Tokens of a micro-batch beyond which nothing gets faster. */
const MICRO_BATCH_TOKENS = 2048;
/** Sequences decoded together, the first that fits. */
const GENERATION_BATCHES = [32, 16, 8, 4, 2, 1] as const;

/** What a run will do and need. */
export interface RunPlan {
  model: { architecture: string; parameters: number };
  /** Of the data as tokenised; from the recipe's limits where the data could not be read. */
  data: {
    rows: number | null;
    held_out_rows: number | null;
    tokens: number | null;
    longest_sequence: number;
    longest_tree: number;
  };
  rounds: PlannedRound[] | null;
  steps: number | null;
  micro_batch_tokens: number;
  activations: 'keep' | 'recompute';
  /** null: nothing is sampled. */
  generation: { batch_size: number; max_length: number } | null;
  memory: MemoryPlan;
  memory_limit_bytes: number;
  /** Where the run cannot fit: the settings with which it would. */
  does_not_fit: { needs: string; advice: string } | null;
  threads: number;
  isa: string;
}

/** Sizes of the data that the plan needs. */
export interface DataSizes {
  rows: number | null;
  held_out_rows: number | null;
  tokens: number | null;
  /** Tokens of the longest prompt with its longest answer. */
  longest_sequence: number;
  /** Tokens of the largest tree: a row, or a prompt with both answers. */
  longest_tree: number;
  longest_prompt: number;
}

/** The recipe's method with the recipe's options. */
export function chosenMethod(recipe: Recipe) {
  return methods[recipe.method].choose(recipe[recipe.method]);
}

function answersHeldOut({ data, evaluation }: Recipe): boolean {
  return data.eval !== null && evaluation.samples > 0;
}

/** Sizes of rows that are there; their lengths are known without reading them. */
export function sizesOf(recipe: Recipe, rows: TokenSource, held_out: readonly TokenRow[]): DataSizes {
  const { pairs } = chosenMethod(recipe);
  const { max_length } = recipe.data;
  const answer = (prompt: number) =>
    pairs ? Math.max(0, Math.min(recipe.generation.max_new_tokens, max_length - prompt) + 1) : 0;
  const sizes: DataSizes = {
    rows: rows.length,
    held_out_rows: held_out.length,
    tokens: 0,
    longest_sequence: 1,
    longest_tree: 1,
    longest_prompt: 1,
  };
  const take = (prompt: number, response: number) => {
    sizes.longest_sequence = Math.max(sizes.longest_sequence, prompt + Math.max(response, answer(prompt)));
    sizes.longest_prompt = Math.max(sizes.longest_prompt, prompt);
  };
  for (let row = 0; row < rows.length; ++row) {
    const [prompt = 0, response = 0] = [rows.prompt_lengths[row], rows.response_lengths[row]];
    take(prompt, response);
    sizes.tokens = (sizes.tokens ?? 0) + prompt + response;
    sizes.longest_tree = Math.max(sizes.longest_tree, prompt + response + answer(prompt));
  }
  for (const { prompt_ids, response_ids } of held_out) take(prompt_ids.length, response_ids.length);
  return sizes;
}

/** The most that the recipe's limits allow, for a plan without the data. */
export function sizesWithoutData(recipe: Recipe): DataSizes {
  const { max_length, max_prompt_length, limit } = recipe.data;
  const answers = max_length - Math.min(max_prompt_length, max_length - 1);
  return {
    rows: limit,
    held_out_rows: null,
    tokens: null,
    longest_sequence: max_length,
    longest_tree: chosenMethod(recipe).pairs ? max_length + answers : max_length,
    longest_prompt: max_length - 1,
  };
}

/** Sizes that change the last bits of a sum: a resumed run keeps those that it began with. */
export type BatchSizes = Pick<RunPlan, 'micro_batch_tokens' | 'activations'>;

export function planRun(recipe: Recipe, description: ModelDescription, sizes: DataSizes): RunPlan {
  const { spec } = description;
  checkLengths(recipe, spec);
  const rounds = sizes.rows === null ? null : chosenMethod(recipe).plan({ numRows: sizes.rows, train: recipe.train });
  const limit = recipe.memory_limit_bytes === 'auto' ? Math.floor(freemem() * 0.9) : recipe.memory_limit_bytes;
  const threads = recipe.threads === 'auto' ? engineInfo().cores : recipe.threads;
  const { training, generation, memory, fits } = fit(recipe, spec, sizes, limit, threads);
  const { longest_prompt, ...data } = sizes;
  return {
    model: { architecture: description.architecture, parameters: parametersOf(description) },
    data,
    rounds,
    steps: rounds?.reduce((sum, round) => sum + round.steps, 0) ?? null,
    micro_batch_tokens: training.micro_batch_tokens,
    activations: training.activations,
    generation,
    memory,
    memory_limit_bytes: limit,
    does_not_fit: fits ? null : adviceFor(recipe, spec, sizes, limit, threads, memory),
    threads,
    isa: engineInfo().isa,
  };
}

function parametersOf({ tensors }: ModelDescription): number {
  return tensors.reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}

function checkLengths(recipe: Recipe, { max_positions }: DecoderSpec): void {
  const { data, generation } = recipe;
  const { pairs } = chosenMethod(recipe);
  if (data.max_length > max_positions) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `data.max_length is ${data.max_length}: the model has ${max_positions} positions`,
      `Set data.max_length to ${max_positions} or less.`,
    );
  }
  if (data.max_prompt_length >= data.max_length) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `data.max_prompt_length is ${data.max_prompt_length}: that leaves no room for an answer in data.max_length ${data.max_length}`,
      'Lower data.max_prompt_length.',
    );
  }
  // The released code cuts after it has sampled, so its prompts are whole then.
  const prompt = recipe.paper_compat ? data.max_length : data.max_prompt_length;
  const longest = prompt + generation.max_new_tokens;
  if ((pairs || answersHeldOut(recipe)) && longest > max_positions) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `data.${recipe.paper_compat ? 'max_length' : 'max_prompt_length'} ${prompt} and generation.max_new_tokens ${generation.max_new_tokens} make ${longest} tokens: the model has ${max_positions} positions`,
      `Lower one of them${pairs ? '' : ', or set evaluation.samples to 0'}.`,
    );
  }
}

/** Throws where the plan does not fit. */
export function requireFit({ does_not_fit, memory_limit_bytes }: RunPlan): void {
  if (does_not_fit === null) return;
  throw new GleanerError(
    'ERR_GLEANER_MEMORY',
    `the run needs ${does_not_fit.needs}, and ${gigabytes(memory_limit_bytes)} may be used`,
    does_not_fit.advice,
  );
}

interface Fit {
  training: { micro_batch_tokens: number; activations: 'keep' | 'recompute' };
  generation: RunPlan['generation'];
  memory: MemoryPlan;
}

/** The first of the candidates, best first, that fits the limit; else the smallest. */
function fit(
  recipe: Recipe,
  spec: DecoderSpec,
  sizes: DataSizes,
  limit: number,
  threads: number,
): Fit & { fits: boolean } {
  let smallest: Fit | undefined;
  for (const candidate of candidates(recipe, spec, sizes, threads)) {
    if (candidate.memory.total_bytes <= limit) return { ...candidate, fits: true };
    if (!smallest || candidate.memory.total_bytes < smallest.memory.total_bytes) smallest = candidate;
  }
  if (!smallest) throw new GleanerError('ERR_GLEANER_INTERNAL', 'a plan without candidates');
  return { ...smallest, fits: false };
}

function* candidates(recipe: Recipe, spec: DecoderSpec, sizes: DataSizes, threads: number): Generator<Fit> {
  const { train, generation } = recipe;
  const batchTokens = sizes.longest_tree * train.batch_size;
  const fixed = train.micro_batch_tokens;
  const micro =
    fixed === 'auto'
      ? [...new Set([Math.max(sizes.longest_tree, Math.min(batchTokens, MICRO_BATCH_TOKENS)), sizes.longest_tree])]
      : [fixed];
  const policies = train.activations === 'auto' ? (['keep', 'recompute'] as const) : [train.activations];
  const { pairs, keeps_round } = chosenMethod(recipe);
  const samples = pairs || answersHeldOut(recipe);
  const max_length = Math.min(spec.max_positions, sizes.longest_prompt + generation.max_new_tokens);
  const sampled = samples ? GENERATION_BATCHES.map((batch_size) => ({ batch_size, max_length })) : [null];
  for (const activations of policies) {
    for (const micro_batch_tokens of micro) {
      for (const batch of sampled) {
        const training = {
          optimizer: train.optimizer.name,
          activations,
          micro_batch_tokens,
          max_length: sizes.longest_sequence,
          keeps_round,
        };
        const settings: PlanSettings = { training, generation: batch, threads };
        yield { training: { micro_batch_tokens, activations }, generation: batch, memory: Engine.plan(spec, settings) };
      }
    }
  }
}

function adviceFor(
  recipe: Recipe,
  spec: DecoderSpec,
  sizes: DataSizes,
  limit: number,
  threads: number,
  memory: MemoryPlan,
): { needs: string; advice: string } {
  const needs = gigabytes(memory.total_bytes);
  const auto: Recipe = { ...recipe, train: { ...recipe.train, micro_batch_tokens: 'auto', activations: 'auto' } };
  for (let max_length = recipe.data.max_length; max_length >= 16; max_length = Math.floor(max_length / 2)) {
    const share = max_length / recipe.data.max_length;
    const shorter: DataSizes = {
      ...sizes,
      longest_sequence: Math.min(sizes.longest_sequence, max_length),
      longest_tree: Math.ceil(sizes.longest_tree * share),
      longest_prompt: Math.min(sizes.longest_prompt, max_length),
    };
    for (const candidate of candidates(auto, spec, shorter, threads)) {
      if (candidate.memory.total_bytes > limit) continue;
      const { activations, micro_batch_tokens } = candidate.training;
      const total = gigabytes(candidate.memory.total_bytes);
      return {
        needs,
        advice: `It would fit with data.max_length ${max_length}, train.activations ${activations} and train.micro_batch_tokens ${micro_batch_tokens} (${total}).`,
      };
    }
  }
  const fixed = gigabytes(memory.weights + memory.packed_weights + memory.gradients + memory.optimizer);
  const cure =
    recipe.train.optimizer.name === 'adamw'
      ? 'a smaller model, more memory, or the optimizer rmsprop, which keeps one state less'
      : 'a smaller model, or more memory';
  return { needs, advice: `Weights, gradients and optimizer state alone take ${fixed}: it takes ${cure}.` };
}

export function gigabytes(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e3).toFixed(1)} kB`;
}
