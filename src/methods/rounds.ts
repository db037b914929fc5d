// What the methods share about rounds: which demonstrations a round has, in which batches and at which learning rates it goes through them.

import { GleanerError } from '../common/errors.js';
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

/** Where a round's steps stand on the schedule: from its start when it begins afresh each round, else on one that spans the run. */
export class LearningRates {
  constructor(
    private readonly schedule: ScheduleSettings,
    private readonly restart: Restart,
    private readonly stepsOfRun: number,
  ) {}

  /** Of the batch that comes after so many of the round and of the run. */
  at(peak: number, done: { ofRound: number; ofRun: number }, stepsOfRound: number): number {
    return this.restart === 'never'
      ? peak * scheduleFactor(this.schedule, done.ofRun, this.stepsOfRun)
      : peak * scheduleFactor(this.schedule, done.ofRound, stepsOfRound);
  }
}
