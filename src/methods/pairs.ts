// The pairs of SPIN and IRFT: a demonstration y and what the policy wrote, ỹ, with the reference's log-probabilities of both.
// The implicit reward is r(x, y) = β·(log π_θ(y|x) − log π_ref(y|x)); arXiv 2405.17888, Algorithm 2.

import { GleanerError } from '../common/errors.js';
import type { GeneratedRow, PairRow, TokenIds, TokenRow, Trainer, UpdateResult } from '../engine/types.js';
import type { Context, Generation } from './method.js';

export type Reference = 'previous' | 'initial';

/** A demonstration and its place in the data, which keys the random numbers of what is sampled for it. */
export interface Demonstration {
  row: TokenRow;
  index: number;
}

export interface SampledPair {
  demonstration: Demonstration;
  prompt_ids: TokenIds;
  real_ids: TokenIds;
  generated_ids: TokenIds;
  /** Of the policy that wrote ỹ; undefined where more was trained than sampled. */
  sampler_logprob: number | undefined;
}

/** A pair as a round trains it. */
export interface RoundPair extends PairRow {
  demonstration: Demonstration;
}

export interface SampledPairs {
  pairs: SampledPair[];
  generations: Generation[];
  /** Pairs with y = ỹ, which teach nothing. */
  identical: number;
  /** Pairs whose prompt left no room for an answer. */
  empty: number;
}

/** ỹ ~ π(·|x) for each demonstration's prompt, from the weights of this moment. */
export async function samplePairs(
  context: Context,
  demonstrations: readonly Demonstration[],
  seed: number,
): Promise<SampledPairs> {
  const generated = await sample(context, demonstrations, seed);
  const result: SampledPairs = { pairs: [], generations: [], identical: 0, empty: 0 };
  for (const [place, demonstration] of demonstrations.entries()) {
    const answer = at(generated, place);
    const { row } = demonstration;
    result.generations.push(generationOf(row, answer));
    const { as_sampled, ...pair } = context.fitPair(row, answer);
    if (pair.generated_ids.length === 0 || pair.real_ids.length === 0) ++result.empty;
    else if (equalIds(pair.real_ids, pair.generated_ids)) ++result.identical;
    else
      result.pairs.push({
        demonstration,
        ...pair,
        sampler_logprob: as_sampled ? sumOfFirst(answer, pair.generated_ids.length) : undefined,
      });
  }
  return result;
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

export function generationOf(row: TokenRow, answer: GeneratedRow): Generation {
  const { response_ids, logprob, finish_reason } = answer;
  return { id: row.id, prompt_ids: row.prompt_ids, response_ids, logprob, finish_reason };
}

export interface ReferenceRequest {
  engine: Trainer;
  /** Sampled by the policy of this moment. */
  fresh: readonly SampledPair[];
  /** Sampled in earlier rounds. */
  earlier: readonly SampledPair[];
  /** True where π_ref is the policy of this moment. */
  referenceIsPolicy: boolean;
  signal?: AbortSignal | undefined;
}

/**
 * Gives each pair log π_ref(y|x) and log π_ref(ỹ|x), constants of the round. Where the reference is the policy that just wrote, its logprobs of
 * what it wrote came with the text, so one pass over the demonstrations is left; an initial reference is brought in for one pass over both.
 */
export async function withReference({
  engine,
  fresh,
  earlier,
  referenceIsPolicy,
  signal,
}: ReferenceRequest): Promise<RoundPair[]> {
  const pairs = [...earlier, ...fresh];
  const known = new Set(referenceIsPolicy ? fresh.filter((pair) => pair.sampler_logprob !== undefined) : []);
  const toScore = pairs.filter((pair) => !known.has(pair));
  const score = () => engine.score([...pairs.map(realRow), ...toScore.map(generatedRow)], { signal });
  const scored = await (referenceIsPolicy ? score() : engine.withInitialWeights(score));
  const generatedLogprobs = new Map(toScore.map((pair, place) => [pair, at(scored, pairs.length + place).logprob]));
  return pairs.map((pair, place) =>
    roundPair(pair, at(scored, place).logprob, generatedLogprobs.get(pair) ?? pair.sampler_logprob),
  );
}

/** On-line mode: ỹ of a batch anew from today's policy; π_ref stays the round's, whose weights are brought in for one pass. */
export async function resamplePairs(
  context: Context,
  batch: readonly RoundPair[],
  { reference, seed }: { reference: Reference; seed: number },
): Promise<{ pairs: RoundPair[]; sampled: SampledPairs }> {
  const { engine, signal } = context;
  const sampled = await samplePairs(
    context,
    batch.map((pair) => pair.demonstration),
    seed,
  );
  const { pairs } = sampled;
  // Both sides: under paper_compat a longer ỹ may cut the prompt, and y then has another reference.
  const score = () => engine.score([...pairs.map(realRow), ...pairs.map(generatedRow)], { signal });
  const scored = await (reference === 'initial' ? engine.withInitialWeights(score) : engine.withRoundWeights(score));
  return {
    sampled,
    pairs: pairs.map((pair, place) =>
      roundPair(pair, at(scored, place).logprob, at(scored, pairs.length + place).logprob),
    ),
  };
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

function realRow({ demonstration, prompt_ids, real_ids }: SampledPair): TokenRow {
  return { id: demonstration.row.id, prompt_ids, response_ids: real_ids };
}

function generatedRow({ demonstration, prompt_ids, generated_ids }: SampledPair): TokenRow {
  return { id: demonstration.row.id, prompt_ids, response_ids: generated_ids };
}

function roundPair(pair: SampledPair, ref_real: number, ref_generated: number | undefined): RoundPair {
  const { demonstration, prompt_ids, real_ids, generated_ids } = pair;
  if (ref_generated === undefined)
    throw new GleanerError('ERR_GLEANER_INTERNAL', `row ${demonstration.row.id}: no reference log-probability of ỹ`);
  return { id: demonstration.row.id, demonstration, prompt_ids, real_ids, generated_ids, ref_real, ref_generated };
}

/** The sampler's log-probability of the first `length` tokens; the rest of the answer was cut. */
function sumOfFirst({ full_logprobs }: GeneratedRow, length: number): number {
  let sum = 0;
  for (let place = 0; place < length; ++place) sum += at(full_logprobs, place);
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
