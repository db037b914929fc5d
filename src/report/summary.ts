// A run in a few numbers: its state, where its metrics began and ended, where its time went.

import type { RunData } from './read.js';

/** How a run stands. */
export type ReportState = 'finished' | 'interrupted' | 'unfinished';

/** Seconds that a run spent on one thing. */
export interface TimeShare {
  name: string;
  seconds: number;
}

/** The figures of a run at a glance. */
export interface RunSummary {
  path: string;
  name: string;
  method: string | undefined;
  state: ReportState;
  step: number;
  /** As planned. */
  steps: number | undefined;
  /** Metric → its last value. */
  metrics: Record<string, number>;
  /** eval/… → its first and last value, where there is more than one. */
  held_out: Record<string, { before: number; after: number }>;
  peak_bytes: number | undefined;
  time: TimeShare[];
  problems: string[];
}

export function summarise(run: RunData, state?: 'interrupted'): RunSummary {
  const { path, name, method, metrics, plan, finished, problems } = run;
  const last: RunSummary['metrics'] = {};
  const held_out: RunSummary['held_out'] = {};
  for (const [key, curve] of metrics.curves) {
    const values = curve.values.filter((value) => value !== null);
    const [before, after] = [values[0], values.at(-1)];
    if (after === undefined || before === undefined) continue;
    last[key] = after;
    if (key.startsWith('eval/') && values.length > 1) held_out[key] = { before, after };
  }
  const peaks = metrics.curves.get('memory/peak_bytes')?.values ?? [];
  const peak = peaks.reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
  return {
    path,
    name,
    method,
    state: state ?? (finished ? 'finished' : 'unfinished'),
    step: metrics.step,
    steps: plan?.steps ?? undefined,
    metrics: last,
    held_out,
    peak_bytes: peak > 0 ? peak : undefined,
    time: timeOf(run),
    problems,
  };
}

const names: Readonly<Record<string, string>> = {
  'time/generation': 'generation',
  'time/update': 'update',
  'time/evaluation': 'evaluation',
};

/** Time by purpose. Where only some steps were logged, theirs stands for all; the rest of the clock's time is `other`. */
function timeOf({ metrics, environment, written }: RunData): TimeShare[] {
  const shares = [...metrics.seconds].map(([key, seconds]): TimeShare => {
    const scale = key === 'time/update' && metrics.logged_steps > 0 ? metrics.step / metrics.logged_steps : 1;
    return { name: names[key] ?? key.slice('time/'.length), seconds: seconds * scale };
  });
  if (shares.length === 0) return [];
  const order = Object.values(names);
  const place = ({ name }: TimeShare) => (order.indexOf(name) + order.length + 1) % (order.length + 1);
  shares.sort((a, b) => place(a) - place(b));
  const started = environment?.started;
  const begun = typeof started === 'string' ? Date.parse(started) : Number.NaN;
  const known = shares.reduce((sum, { seconds }) => sum + seconds, 0);
  const clock = written === undefined ? Number.NaN : (written.getTime() - begun) / 1000;
  if (clock > known && !shares.some(({ name }) => name === 'other'))
    shares.push({ name: 'other', seconds: clock - known });
  return shares;
}
