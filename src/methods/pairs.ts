// The pairs of SPIN and IRFT: a demonstration y and what the policy wrote, ỹ, with the reference's log-probabilities of both.
// The implicit reward is r(x, y) = β·(log π_θ(y|x) − log π_ref(y|x)); arXiv 2405.17888, Algorithm 2.

import { GleanerError } from '../common/errors.js';
import type { GeneratedRow, PairRow, TokenIds, TokenRow, UpdateResult } from '../engine/types.js';
import type { Context, Generation, RoundPair } from './method.js';

export type Reference = 'previous' | 'initial';

/** A demonstration and its place in the data, which keys the random numbers of what is sampled for it. */
export interface Demonstration {
  row: TokenRow;
  index: number;
}

/** A pair whose reference log-probabilities are not there yet. */
interface SampledPair extends Omit<RoundPair, 'ref_real' | 'ref_generated'> {
  /** Of the policy that wrote ỹ; undefined where more was trained than sampled. */
  sampler_logprob: number | undefined;
}

/** Answers that became no pair. */
export interface DroppedPairs {
  /** y = ỹ, which teaches nothing. */
  identical: number;
  /** The prompt left no room for an answer. */
  empty: number;
}

/** Answers to prompts under the run's generation settings; what a row gets depends on the seed and its index alone. */
export async function sample(
  context: Context,
  demonstrations: readonly Demonstration[],
  seed: number,
): Promise<GeneratedRow[]> {
  const { engine, generation, eos_token_ids, signal } = context;
  const prompts = demonstrations.map(({ row, index }) => ({ prompt_ids: row.prompt_ids, sample_id: index }));
  return engine.generate(prompts, { ...generation, seed, eos_token_ids, signal });
}

export function generationOf({ row, index }: Demonstration, answer: GeneratedRow): Generation {
  const { response_ids, full_logprobs, logprob, finish_reason } = answer;
  return {
    id: row.id,
    index,
    prompt_ids: row.prompt_ids,
    response_ids,
    token_logprobs: full_logprobs,
    logprob,
    finish_reason,
    demonstration_ids: row.response_ids,
  };
}

/** Generations to pairs, as far as there is something to learn from them. */
function fitPairs(context: Context, generations: readonly Generation[], round: number, dropped: DroppedPairs) {
  return generations.flatMap((generation): SampledPair[] => {
    const { id, index, prompt_ids, demonstration_ids, token_logprobs } = generation;
    const row = { id, prompt_ids, response_ids: demonstration_ids };
    const { as_sampled, ...ids } = context.fitPair(row, generation);
    if (ids.generated_ids.length === 0 || ids.real_ids.length === 0) ++dropped.empty;
    else if (equalIds(ids.real_ids, ids.generated_ids)) ++dropped.identical;
    else
      return [
        {
          id,
          index,
          round,
          ...ids,
          sampler_logprob: as_sampled ? sumOfFirst(token_logprobs, ids.generated_ids.length) : undefined,
        },
      ];
    return [];
  });
}

/**
 * Pairs of what was just sampled, with log π_ref(y|x) and log π_ref(ỹ|x), constants of the round. Where the reference is the policy that
 * wrote, its logprobs of what it wrote came with the text, so one pass over the demonstrations is left; with other weights in place, both
 * sides are scored.
 */
export async function freshPairs(
  context: Context,
  generations: readonly Generation[],
  { round, referenceIsSampler, dropped }: { round: number; referenceIsSampler: boolean; dropped: DroppedPairs },
): Promise<RoundPair[]> {
  const pairs = fitPairs(context, generations, round, dropped);
  const unknown = pairs.filter((pair) => !referenceIsSampler || pair.sampler_logprob === undefined);
  const scored = await context.engine.score([...pairs.map(realRow), ...unknown.map(generatedRow)], {
    signal: context.signal,
  });
  const generated = new Map(unknown.map((pair, place) => [pair, at(scored, pairs.length + place).logprob]));
  return pairs.map(({ sampler_logprob, ...pair }, place) => ({
    ...pair,
    ref_real: at(scored, place).logprob,
    ref_generated: generated.get(at(pairs, place)) ?? sampler_logprob ?? Number.NaN,
  }));
}

/** Pairs of earlier rounds under the reference of this moment. */
export async function rescored({ engine, signal }: Context, pairs: readonly RoundPair[]): Promise<RoundPair[]> {
  const scored = await engine.score([...pairs.map(realRow), ...pairs.map(generatedRow)], { signal });
  return pairs.map((pair, place) => ({
    ...pair,
    ref_real: at(scored, place).logprob,
    ref_generated: at(scored, pairs.length + place).logprob,
  }));
}

/** On-line mode: ỹ of a batch anew from today's policy; π_ref stays the round's, whose weights are brought in for one pass. */
export async function resampledPairs(
  context: Context,
  batch: readonly RoundPair[],
  { reference, seed, round, dropped }: { reference: Reference; seed: number; round: number; dropped: DroppedPairs },
): Promise<RoundPair[]> {
  const { engine } = context;
  const rows = await context.rows.rows(batch.map(({ index }) => index));
  const demonstrations = rows.map((row, place) => ({ row, index: at(batch, place).index }));
  const answers = await sample(context, demonstrations, seed);
  const generations = answers.map((answer, place) => generationOf(at(demonstrations, place), answer));
  // Both sides: under paper_compat a longer ỹ may cut the prompt, and y then has another reference.
  const score = () => freshPairs(context, generations, { round, referenceIsSampler: false, dropped });
  return reference === 'initial' ? engine.withInitialWeights(score) : engine.withRoundWeights(score);
}

/** What a step on pairs tells, under the names of this field; from the log-probabilities before the step. */
export function pairMetrics(result: UpdateResult, pairs: readonly PairRow[], beta: number): Record<string, number> {
  if (!result.pairs)
    throw new GleanerError('ERR_GLEANER_INTERNAL', 'an update of pairs came back without their logprobs');
  const { real_logprobs, generated_logprobs } = result.pairs;
  const mean = (value: (pair: PairRow, place: number) => number) =>
    pairs.reduce((sum, pair, place) => sum + value(pair, place), 0) / pairs.length;
  const real = (place: number) => at(real_logprobs, place);
  const generated = (place: number) => at(generated_logprobs, place);
  const reward = (pair: PairRow, place: number) => ({
    real: beta * (real(place) - pair.ref_real),
    generated: beta * (generated(place) - pair.ref_generated),
  });
  return {
    'rewards/real': mean((pair, place) => reward(pair, place).real),
    'rewards/generated': mean((pair, place) => reward(pair, place).generated),
    'rewards/margins': mean((pair, place) => reward(pair, place).real - reward(pair, place).generated),
    'rewards/accuracies': mean((pair, place) => (reward(pair, place).real > reward(pair, place).generated ? 1 : 0)),
    'logps/real': mean((_, place) => real(place)),
    'logps/generated': mean((_, place) => generated(place)),
  };
}

function realRow({ id, prompt_ids, real_ids }: Omit<PairRow, 'ref_real' | 'ref_generated'>): TokenRow {
  return { id, prompt_ids, response_ids: real_ids };
}

function generatedRow({ id, prompt_ids, generated_ids }: Omit<PairRow, 'ref_real' | 'ref_generated'>): TokenRow {
  return { id, prompt_ids, response_ids: generated_ids };
}

/** The sampler's log-probability of the first `length` tokens; the rest of the answer was cut. */
function sumOfFirst(token_logprobs: Float32Array, length: number): number {
  let sum = 0;
  for (let place = 0; place < length; ++place) sum += at(token_logprobs, place);
  return sum;
}

export function equalIds(a: TokenIds, b: TokenIds): boolean {
  if (a.length !== b.length) return false;
  for (let place = 0; place < a.length; ++place) if (a[place] !== b[place]) return false;
  return true;
}

/** An answer of the engine holds one entry for each row asked; anything else is a fault of ours. */
function at<T>(values: ArrayLike<T>, place: number): T {
  const value = values[place];
  if (value === undefined)
    throw new GleanerError(
      'ERR_GLEANER_INTERNAL',
      `the engine answered ${values.length} values where there should be more`,
    );
  return value;
}
