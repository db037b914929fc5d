// What the methods share about rounds: which demonstrations a round has, in which batches and at which learning rates it goes through them.

import { GleanerError } from '../common/errors.js';
import { permutation } from '../data/order.js';
import type { PlannedRound, TrainSettings } from './method.js';
import { neverMoves, type ScheduleSettings, scheduleFactor } from './schedule.js';

export type Chunks = 'disjoint' | 'all';
export type Restart = 'round' | 'never';

/** Rows [begin, end) of the shuffled data for each round: T consecutive chunks whose sizes differ by one at most, or all of it T times. */
export function chunkBounds(numRows: number, rounds: number, chunks: Chunks): { begin: number; end: number }[] {
  if (numRows === 0)
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      'no demonstration to train on',
      'See the counts of dropped rows and data.train.',
    );
  if (chunks === 'disjoint' && rounds > numRows) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `${rounds} rounds on disjoint chunks of ${numRows} rows: a chunk would be empty`,
      'Use fewer rounds, or chunks: all.',
    );
  }
  return Array.from({ length: rounds }, (_, round) =>
    chunks === 'all'
      ? { begin: 0, end: numRows }
      : { begin: Math.floor((numRows * round) / rounds), end: Math.floor((numRows * (round + 1)) / rounds) },
  );
}

/** Steps that numItems rows or pairs take: the epochs' batches, the last of each epoch may be smaller, or as many as are asked for. */
export function numSteps(
  numItems: number,
  train: Pick<TrainSettings, 'batch_size' | 'epochs'>,
  stepsPerRound: number | null,
): number {
  if (numItems === 0) return 0;
  return stepsPerRound ?? train.epochs * Math.ceil(numItems / train.batch_size);
}

/** Cuts rounds at train.max_steps, which counts the whole run. Rounds that would have no step are left out. */
export function capRounds(rounds: readonly PlannedRound[], maxSteps: number | null): PlannedRound[] {
  const capped: PlannedRound[] = [];
  let left = maxSteps ?? Number.POSITIVE_INFINITY;
  for (const round of rounds) {
    if (left <= 0) break;
    const steps = Math.min(round.steps, left);
    capped.push({ ...round, steps });
    left -= steps;
  }
  return capped;
}

/** A round of nothing but the warm-up's first step would train nothing, round after round. `cure` is what the recipe may set. */
export function refuseRoundsThatNeverMove(
  rounds: readonly PlannedRound[],
  schedule: ScheduleSettings,
  section: string,
  cure: string,
): void {
  for (const { steps } of rounds) {
    if (steps > 0 && neverMoves(schedule, steps, steps)) {
      throw new GleanerError(
        'ERR_GLEANER_RECIPE',
        `${section}: a schedule of ${steps} step${steps === 1 ? '' : 's'}: the warm-up begins at learning rate 0 and never gets further`,
        cure,
      );
    }
  }
}

/** A run so short that its learning rate stays 0 would end as it began, and seem to have trained. */
export function refuseRunThatNeverMoves(
  rounds: readonly PlannedRound[],
  schedule: ScheduleSettings,
  restart: Restart,
): void {
  const total = rounds.reduce((sum, { steps }) => sum + steps, 0);
  const still =
    restart === 'round'
      ? rounds.every(({ steps }) => neverMoves(schedule, steps, steps))
      : neverMoves(schedule, total, total);
  if (total === 0 || !still) return;
  throw new GleanerError(
    'ERR_GLEANER_RECIPE',
    `${total} step${total === 1 ? '' : 's'} in all: the warm-up begins at learning rate 0 and never gets further`,
    'Set train.schedule.warmup_ratio: 0, or let it take more steps (train.max_steps, train.epochs).',
  );
}

export interface BatchPlan<Item> {
  items: readonly Item[];
  batch_size: number;
  steps: number;
  seed: number;
  round: number;
  shuffle: boolean;
}

/** Batches of `steps` optimiser steps, in epochs that each go once through all items in a new order. `epoch` is a fraction: epochs done after this batch. */
export function* batches<Item>({
  items,
  batch_size,
  steps,
  seed,
  round,
  shuffle,
}: BatchPlan<Item>): Generator<{ batch: Item[]; epoch: number }> {
  let step = 0;
  for (let epoch = 0; step < steps && items.length > 0; ++epoch) {
    const order = shuffle
      ? permutation({ seed, purpose: 'batches', stream: [round, epoch], length: items.length })
      : undefined;
    for (let begin = 0; begin < items.length && step < steps; begin += batch_size, ++step) {
      const end = Math.min(begin + batch_size, items.length);
      const batch: Item[] = [];
      for (let place = begin; place < end; ++place) {
        const item = items[order?.[place] ?? place];
        if (item !== undefined) batch.push(item);
      }
      yield { batch, epoch: epoch + end / items.length };
    }
  }
}

/** Where a round's steps stand on the schedule: from its start when it begins afresh each round, else on one that spans the run. */
export class LearningRates {
  #step = 0;
  #total = 1;

  constructor(
    private readonly schedule: ScheduleSettings,
    private readonly restart: Restart,
    private readonly stepsOfRun: number,
  ) {}

  startRound(stepsOfRound: number): void {
    if (this.restart === 'never') {
      this.#total = this.stepsOfRun;
    } else {
      this.#step = 0;
      this.#total = stepsOfRound;
    }
  }

  next(peak: number): number {
    return peak * scheduleFactor(this.schedule, this.#step++, this.#total);
  }
}
