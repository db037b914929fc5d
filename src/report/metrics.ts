// metrics.jsonl as curves, one a key. Lines that are no record are counted and said, never an error: a run may be writing the last one.

import type { Curve } from './downsample.js';
import { plural } from './format.js';
import { fileLines } from './lines.js';

/** Keys beyond these are not drawn: a file with thousands of them is no run's. */
const MOST_KEYS = 200;

export interface Metrics {
  curves: ReadonlyMap<string, Curve>;
  /** Sums of the time/… keys, in seconds. */
  seconds: ReadonlyMap<string, number>;
  /** Where a round begins: after this many steps. */
  rounds: { round: number; step: number }[];
  step: number;
  /** Steps whose record is there: fewer than `step` with log.every. */
  logged_steps: number;
  /** Steps that changed no weight, as far as they were logged. */
  skipped_at: number[];
  /** What could not be read. */
  problems: string[];
}

export async function readMetrics(path: string): Promise<Metrics> {
  const reader = new MetricsReader();
  const broken: number[] = [];
  let cut = false;
  for await (const { text, number, ended } of fileLines(path)) {
    if (text?.trim() === '') continue;
    if (text !== undefined && reader.add(parsed(text))) continue;
    if (ended) broken.push(number);
    else cut = true;
  }
  const problems: string[] = [];
  if (broken.length > 0)
    problems.push(`metrics.jsonl: ${plural(broken.length, 'line')} could not be read, the first is line ${broken[0]}`);
  if (cut) problems.push('metrics.jsonl: the last line is cut; its record is left out');
  if (reader.dropped_keys.size > 0)
    problems.push(`metrics.jsonl: more than ${MOST_KEYS} keys; the others are left out`);
  return { ...reader.metrics, problems };
}

export function noMetrics(): Metrics {
  return new MetricsReader().metrics;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

class MetricsReader {
  readonly curves = new Map<string, Curve>();
  readonly seconds = new Map<string, number>();
  readonly rounds: Metrics['rounds'] = [];
  readonly skipped_at: number[] = [];
  readonly dropped_keys = new Set<string>();
  step = 0;
  logged_steps = 0;
  #skipped = 0;

  get metrics(): Metrics {
    const { curves, seconds, rounds, step, logged_steps, skipped_at } = this;
    return { curves, seconds, rounds, step, logged_steps, skipped_at, problems: [] };
  }

  /** False: not a record. */
  add(value: unknown): boolean {
    if (typeof value !== 'object' || value === null || !('step' in value)) return false;
    const { step, ...record } = value;
    if (typeof step !== 'number' || !Number.isFinite(step)) return false;
    const isStep = 'loss' in record;
    this.step = Math.max(this.step, step);
    if (isStep) this.logged_steps += 1;
    for (const [key, found] of Object.entries(record)) {
      if (typeof found === 'number' && Number.isFinite(found)) this.#point(key, step, found);
      else if (found === null) this.#point(key, step, null);
    }
    this.#round(step, isStep, record);
    return true;
  }

  #point(key: string, step: number, value: number | null): void {
    if (key.startsWith('time/')) this.seconds.set(key, (this.seconds.get(key) ?? 0) + (value ?? 0));
    if (key === 'skipped_steps' && value !== null && value > this.#skipped) {
      this.#skipped = value;
      this.skipped_at.push(step);
    }
    let curve = this.curves.get(key);
    if (!curve) {
      if (this.curves.size >= MOST_KEYS) {
        this.dropped_keys.add(key);
        return;
      }
      curve = { steps: [], values: [] };
      this.curves.set(key, curve);
    }
    // What a resumed run did again stands instead of what it did before.
    while ((curve.steps.at(-1) ?? Number.NEGATIVE_INFINITY) >= step) {
      curve.steps.pop();
      curve.values.pop();
    }
    curve.steps.push(step);
    curve.values.push(value);
  }

  #round(step: number, isStep: boolean, record: object): void {
    if (!('round' in record) || typeof record.round !== 'number') return;
    const last = this.rounds.at(-1);
    if (last && record.round <= last.round) return;
    this.rounds.push({ round: record.round, step: isStep ? step - 1 : step });
  }
}
