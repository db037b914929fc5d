// The rounds of IRFT and SPIN, arXiv 2405.17888, Algorithm 2: write ỹ with the policy, freeze the reference, train on pairs, again.

import { randomUnit, seedFor } from '../common/philox.js';
import { permutation } from '../data/order.js';
import type { PairLoss } from '../engine/types.js';
import type { Context, PlannedRound, TrainSettings } from './method.js';
import {
  type Demonstration,
  pairMetrics,
  type Reference,
  type RoundPair,
  resamplePairs,
  type SampledPair,
  type SampledPairs,
  samplePairs,
  withReference,
} from './pairs.js';
import {
  batches,
  type Chunks,
  capRounds,
  chunkBounds,
  LearningRates,
  numSteps,
  type Restart,
  refuseRoundsThatNeverMove,
  refuseRunThatNeverMoves,
} from './rounds.js';
import { TrainingLoop } from './training_loop.js';

export interface PairRounds {
  /** Of the recipe, for messages. */
  section: string;
  /** One entry a round. */
  rounds: readonly { beta: number; learning_rate: number }[];
  loss: PairLoss;
  chunks: Chunks;
  reference: Reference;
  steps_per_round: number | null;
  restart: Restart;
  generation_rate: number;
  nll_weight: number;
  /** Earlier rounds whose pairs are trained on again. */
  mix_previous: number;
}

export function planPairRounds(numRows: number, train: TrainSettings, settings: PairRounds): PlannedRound[] {
  const { rounds, chunks, mix_previous, steps_per_round, restart, section } = settings;
  const sizes = chunkBounds(numRows, rounds.length, chunks).map(({ begin, end }) => end - begin);
  const planned = sizes.map((rows, round) => {
    const pool = sizes.slice(Math.max(0, round - mix_previous), round + 1).reduce((sum, size) => sum + size, 0);
    return { rows, generations: rows, steps: numSteps(pool, train, steps_per_round) };
  });
  if (restart === 'round') {
    const restartKey = section === 'irft' ? 'irft.restart: never, ' : '';
    const cure = `Set ${restartKey}train.schedule.warmup_ratio: 0, or longer rounds.`;
    refuseRoundsThatNeverMove(planned, train.schedule, section, cure);
  }
  const capped = capRounds(planned, train.max_steps);
  refuseRunThatNeverMoves(capped, train.schedule, restart);
  return capped.map((round) => ({
    ...round,
    generations: rowsInReach(round, train, settings),
  }));
}

/** Demonstrations that a round's steps can reach; the others' answers would be sampled in vain. Pairs that are mixed in later are all wanted. */
function rowsInReach({ rows, steps }: PlannedRound, train: TrainSettings, { mix_previous }: PairRounds): number {
  return mix_previous > 0 ? rows : Math.min(rows, steps * train.batch_size);
}

export async function trainPairRounds(context: Context, settings: PairRounds): Promise<void> {
  const { engine, train, signal, seed, shuffle, log } = context;
  const { reference, restart, loss, nll_weight, generation_rate } = settings;
  const plan = planPairRounds(context.rows.length, train, settings);
  const bounds = chunkBounds(context.rows.length, settings.rounds.length, settings.chunks);
  const data = shuffled(
    context.rows.map((row, index) => ({ row, index })),
    shuffle,
    { seed, stream: [0], purpose: 'chunks' },
  );
  const loop = new TrainingLoop(context, plan);
  const rates = new LearningRates(
    train.schedule,
    restart,
    plan.reduce((sum, { steps }) => sum + steps, 0),
  );
  const pool: SampledPair[][] = []; // one entry a round
  if (restart === 'never') await engine.resetOptimizer();

  for (const [round, planned] of plan.entries()) {
    const { beta, learning_rate: peak } = settings.rounds[round] ?? { beta: Number.NaN, learning_rate: Number.NaN };
    const objective = { name: 'pair', loss, beta, nll_weight } as const;
    await loop.showAndEvaluate();

    // ỹ ~ π_t(·|x) for every x of the chunk.
    const chunk = data.slice(bounds[round]?.begin, bounds[round]?.end);
    const demonstrations =
      planned.generations < chunk.length
        ? shuffled(chunk, shuffle, { seed, stream: [round], purpose: 'reach' }).slice(0, planned.generations)
        : chunk;
    const fresh = await loop.generation(round, () => generate(context, demonstrations, round));
    const earlier = pool.slice(Math.max(0, round - settings.mix_previous)).flat();
    pool.push(fresh);

    // π_ref := π_t, or π_0: constants of the round.
    const referenceIsPolicy = reference === 'previous' || loop.step === 0;
    const pairs = await withReference({ engine, fresh, earlier, referenceIsPolicy, signal });
    if (generation_rate > 0 && reference === 'previous') await engine.markRound();
    if (restart === 'round') await engine.resetOptimizer();

    const steps = Math.min(numSteps(pairs.length, train, settings.steps_per_round), stepsLeft(train, loop.step));
    if (steps === 0) log.warn(`round ${round}: no pair is left to train on`);
    rates.startRound(steps);
    for (const { batch, epoch } of batches({
      items: pairs,
      batch_size: train.batch_size,
      steps,
      seed,
      round,
      shuffle,
    })) {
      const online = generation_rate > 0 && randomUnit(seed, 'online', [loop.step]) < generation_rate;
      const trained = online ? await resample(context, batch, reference, loop.step) : batch;
      const learning_rate = rates.next(peak);
      if (trained.length === 0) continue;
      await loop.update({ objective, pairs: trained }, { round, epoch, learning_rate }, (result) =>
        pairMetrics(result, trained, beta),
      );
    }
  }
  await loop.showAndEvaluate();
}

async function generate(context: Context, demonstrations: readonly Demonstration[], round: number) {
  const sampled = await samplePairs(context, demonstrations, seedFor(context.seed, 'round', round));
  sayDropped(context, `round ${round}`, sampled);
  const { pairs, generations, identical, empty } = sampled;
  const share = (count: number) => count / generations.length;
  const metrics = {
    'generation/response_tokens': share(generations.reduce((sum, { response_ids }) => sum + response_ids.length, 0)),
    'generation/eos_rate': share(generations.filter(({ finish_reason }) => finish_reason === 'eos').length),
    'pairs/kept': pairs.length,
    'pairs/identical': identical,
    'pairs/empty': empty,
  };
  return { result: pairs, generations, metrics };
}

async function resample(
  context: Context,
  batch: readonly RoundPair[],
  reference: Reference,
  step: number,
): Promise<RoundPair[]> {
  const { pairs, sampled } = await resamplePairs(context, batch, {
    reference,
    seed: seedFor(context.seed, 'online', step),
  });
  sayDropped(context, `step ${step + 1}`, sampled);
  return pairs;
}

function sayDropped({ log }: Context, where: string, { identical, empty }: SampledPairs): void {
  if (identical > 0) log.info(`${where}: ${identical} pairs dropped, their ỹ is y word for word`);
  if (empty > 0) log.warn(`${where}: ${empty} pairs dropped, their prompt leaves no room for an answer`);
}

function stepsLeft(train: TrainSettings, done: number): number {
  return train.max_steps === null ? Number.POSITIVE_INFINITY : train.max_steps - done;
}

function shuffled<Item>(
  items: readonly Item[],
  shuffle: boolean,
  key: { seed: number; stream: readonly number[]; purpose: 'chunks' | 'reach' },
): Item[] {
  if (!shuffle) return [...items];
  const order = permutation({ ...key, length: items.length });
  return Array.from(order, (place) => items[place]).filter((item) => item !== undefined);
}
