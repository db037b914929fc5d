// Learning-rate schedules, value for value those of transformers' get_{linear,cosine,constant}_schedule_with_warmup.
// A step counts from 0, so the first step of a warm-up has rate 0.

/** The shape after the warm-up. */
export type ScheduleName = 'linear' | 'cosine' | 'constant';

/** The recipe's section train.schedule. */
export interface ScheduleSettings {
  name: ScheduleName;
  /** Share of the steps, rounded up; warmup_steps wins where it is given. */
  warmup_ratio: number;
  warmup_steps: number | null;
}

/** The rate of step `step` of `totalSteps`, as a share of the peak. */
export function scheduleFactor(schedule: ScheduleSettings, step: number, totalSteps: number): number {
  const warmup = warmupSteps(schedule, totalSteps);
  if (step < warmup) return step / Math.max(1, warmup);
  const decaySteps = Math.max(1, totalSteps - warmup);
  switch (schedule.name) {
    case 'linear':
      return Math.max(0, (totalSteps - step) / decaySteps);
    case 'cosine':
      return Math.max(0, 0.5 * (1 + Math.cos((Math.PI * (step - warmup)) / decaySteps)));
    case 'constant':
      return 1;
    default:
      return schedule.name satisfies never;
  }
}

export function warmupSteps(schedule: ScheduleSettings, totalSteps: number): number {
  return schedule.warmup_steps ?? Math.ceil(totalSteps * schedule.warmup_ratio);
}

/** No step of `numSteps` would move a weight: the warm-up starts at 0 and the steps end there. */
export function neverMoves(schedule: ScheduleSettings, numSteps: number, totalSteps: number): boolean {
  for (let step = 0; step < numSteps; ++step) {
    if (scheduleFactor(schedule, step, totalSteps) > 0) return false;
  }
  return true;
}
