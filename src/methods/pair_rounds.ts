// The rounds of IRFT and SPIN, arXiv 2405.17888, Algorithm 2: write ỹ with the policy, freeze the reference, train on pairs, again.

import { GleanerError } from '../common/errors.js';
import type { Log } from '../common/log.js';
import { randomUnit, seedFor } from '../common/philox.js';
import { permutation, RowOrder, WINDOW_ROWS } from '../data/stream/order.js';
import type { RowSource } from '../data/stream/row_source.js';
import type { PairLoss } from '../engine/types.js';
import { batches, groups } from './batches.js';
import type { Context, Generation, PlannedRound, RoundPair, TrainSettings } from './method.js';
import {
  type DroppedPairs,
  freshPairs,
  generationOf,
  pairMetrics,
  type Reference,
  resampledPairs,
  rescored,
  sample,
} from './pairs.js';
import {
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

/** Rows that are sampled or scored together, and kept once they are: what an interruption can cost. */
const GROUP_ROWS = 512;

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
  const { engine, rows, train } = context;
  const plan = planPairRounds(rows.length, train, settings);
  const loop = new TrainingLoop(context, plan);
  const run: PairRun = { context, settings, loop, plan };
  if (settings.restart === 'never' && context.state === undefined) await engine.resetOptimizer();
  for (let round = loop.state.round; round < plan.length; ++round) {
    await loop.beginRound(round);
    const underWay = loop.state.round_start !== null;
    const pairs = underWay ? await context.rounds.openPairs(round) : await makePairs(run, round);
    if (!underWay) {
      if (settings.generation_rate > 0 && settings.reference === 'previous') await engine.markRound();
      if (settings.restart === 'round') await engine.resetOptimizer();
      await loop.beginSteps();
    }
    await trainRound(run, round, pairs);
  }
  await loop.showAndEvaluate();
}

interface PairRun {
  context: Context;
  settings: PairRounds;
  loop: TrainingLoop;
  plan: readonly PlannedRound[];
}

/** ỹ ~ π_t(·|x) for every x of the chunk, then π_ref := π_t, or π_0: constants of the round. */
async function makePairs(run: PairRun, round: number): Promise<RowSource<RoundPair>> {
  const { context, settings, loop } = run;
  const { engine, output, now, log } = context;
  const started = now();
  const generations = await generate(run, round);
  const seconds = now() - started;

  const dropped: DroppedPairs = { identical: 0, empty: 0 };
  const answers = { tokens: 0, ended: 0 };
  const referenceIsPolicy = settings.reference === 'previous' || loop.state.step === 0;
  const file = await context.rounds.pairs(round);
  const refer = async () => {
    for (let earlier = Math.max(0, round - settings.mix_previous); earlier < round; ++earlier) {
      for await (const group of groups(await context.rounds.openPairs(earlier), GROUP_ROWS)) {
        const own = group.filter((pair) => pair.round === earlier); // not those that it had mixed in itself
        await file.append(await rescored(context, own));
      }
    }
    for await (const group of groups(generations, GROUP_ROWS)) {
      answers.tokens += group.reduce((sum, { response_ids }) => sum + response_ids.length, 0);
      answers.ended += group.filter(({ finish_reason }) => finish_reason === 'eos').length;
      await file.append(await freshPairs(context, group, { round, referenceIsSampler: referenceIsPolicy, dropped }));
    }
  };
  await (referenceIsPolicy ? refer() : engine.withInitialWeights(refer));
  const pairs = await file.finish();
  sayDropped(log, `round ${round}`, dropped);
  await output.metrics({
    step: loop.state.step,
    round,
    'generation/response_tokens': answers.tokens / generations.length,
    'generation/eos_rate': answers.ended / generations.length,
    'pairs/kept': generations.length - dropped.identical - dropped.empty,
    'pairs/identical': dropped.identical,
    'pairs/empty': dropped.empty,
    'time/generation': seconds,
  });
  return pairs;
}

/** The answers of a round, group by group; groups that an interrupted run had finished are not sampled again. */
async function generate({ context, settings, plan }: PairRun, round: number): Promise<RowSource<Generation>> {
  const { rows, rounds, seed } = context;
  const places = demonstrationsOf(context, settings, round, plan[round]?.generations ?? 0);
  const file = await rounds.generations(round, places.length);
  const roundSeed = seedFor(seed, 'round', round);
  for (let begin = file.length; begin < places.length; begin += GROUP_ROWS) {
    const group = places.subarray(begin, begin + GROUP_ROWS);
    rows.expect(places.subarray(begin + GROUP_ROWS, begin + 2 * GROUP_ROWS));
    const demonstrations = (await rows.rows(group)).map((row, place) => ({ row, index: group[place] ?? 0 }));
    const answers = await sample(context, demonstrations, roundSeed);
    await file.append(
      demonstrations.flatMap((demonstration, place) => {
        const answer = answers[place];
        return answer ? [generationOf(demonstration, answer)] : [];
      }),
    );
  }
  const generations = await file.finish();
  if (generations.length === places.length) return generations;
  throw new GleanerError(
    'ERR_GLEANER_DATA',
    `round ${round}: ${generations.length} answers are kept of ${places.length} that were sampled`,
    `Remove the folder of round ${round} and resume: its answers are sampled again.`,
  );
}

/** Places in the data of the demonstrations of a round: its chunk, or those of it that its steps can reach. */
function demonstrationsOf(
  { rows, seed, shuffle }: Context,
  settings: PairRounds,
  round: number,
  wanted: number,
): Uint32Array {
  const { begin, end } = chunkBounds(rows.length, settings.rounds.length, settings.chunks)[round] ?? {
    begin: 0,
    end: 0,
  };
  const data = new RowOrder({ seed, purpose: 'chunks', stream: [0], batch_rows: rows.batch_rows, shuffle });
  const chunk = data.slice(begin, end);
  if (wanted >= chunk.length) return chunk;
  if (!shuffle) return chunk.subarray(0, wanted);
  const reached = permutation({ seed, purpose: 'reach', stream: [round], length: chunk.length }).subarray(0, wanted);
  // Beyond a window the rows are taken as the files are gone through.
  return (chunk.length > WINDOW_ROWS ? reached.sort() : reached).map((place) => chunk[place] ?? 0);
}

async function trainRound(run: PairRun, round: number, pairs: RowSource<RoundPair>): Promise<void> {
  const { context, settings, loop, plan } = run;
  const { train, seed, shuffle, log, now } = context;
  const { beta, learning_rate: peak } = settings.rounds[round] ?? { beta: Number.NaN, learning_rate: Number.NaN };
  const objective = { name: 'pair', loss: settings.loss, beta, nll_weight: settings.nll_weight } as const;
  const { batches: done, first_step } = loop.sinceRoundStart;
  const steps = Math.min(numSteps(pairs.length, train, settings.steps_per_round), stepsLeft(train, first_step));
  if (steps === 0) log.warn(`round ${round}: no pair is left to train on`);
  const rates = new LearningRates(
    train.schedule,
    settings.restart,
    plan.reduce((sum, planned) => sum + planned.steps, 0),
  );
  const batchPlan = { batch_size: train.batch_size, steps, begin: done, seed, round, shuffle };
  for await (const { batch, epoch, waited } of batches(pairs, batchPlan, now)) {
    const trained = await onlineOr(run, batch, round);
    const place = { ofRound: loop.sinceRoundStart.batches, ofRun: loop.state.batches };
    const learning_rate = rates.at(peak, place, steps);
    if (trained.length === 0) {
      await loop.passBatch();
      continue;
    }
    await loop.update({ objective, pairs: trained }, { epoch, learning_rate, waited }, (result) =>
      pairMetrics(result, trained, beta),
    );
  }
}

/** The batch, or, on-line and as often as generation_rate says, the batch with answers of today's policy. */
async function onlineOr(
  { context, settings, loop }: PairRun,
  batch: readonly RoundPair[],
  round: number,
): Promise<readonly RoundPair[]> {
  const { generation_rate, reference } = settings;
  const { seed, log } = context;
  const { batches: place } = loop.state;
  if (generation_rate === 0 || randomUnit(seed, 'online', [place]) >= generation_rate) return batch;
  const dropped: DroppedPairs = { identical: 0, empty: 0 };
  const online = { reference, seed: seedFor(seed, 'online', place), round, dropped };
  const pairs = await resampledPairs(context, batch, online);
  sayDropped(log, `step ${loop.state.step + 1}`, dropped);
  return pairs;
}

function sayDropped(log: Log, where: string, { identical, empty }: DroppedPairs): void {
  if (identical > 0) log.info(`${where}: ${identical} pairs dropped, their ỹ is y word for word`);
  if (empty > 0) log.warn(`${where}: ${empty} pairs dropped, their prompt leaves no room for an answer`);
}

function stepsLeft(train: TrainSettings, done: number): number {
  return train.max_steps === null ? Number.POSITIVE_INFINITY : train.max_steps - done;
}
