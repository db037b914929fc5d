// Rounds, interleaved A B C C B A, so that a drifting machine weighs on all sides alike.

import type { Answer, Limits, Ours, Work } from './case.js';
import { type Check, check } from './check.js';
import { watched } from './machine.js';
import type { Side } from './peer.js';

/** Not counted: caches, page faults, lazy initialisation, compilers. */
export const WARM_UP = 2;
/** Rounds stop at a row's budget, but not below this. */
const FEWEST = 3;
/** After a first round longer than this, one round is warm-up enough. */
const LONG_ROUND_S = 20;
/** A peer slower than this runs at the largest thread count only. */
const SLOW_S = 5;

export type Timed = Answer & { foreign: number | undefined };

export interface Round {
  work: Work;
  ours: Timed;
  peers: Record<string, Timed>;
  /** Measured between the sides. */
  limits: Limits;
}

export interface MeasureOptions {
  rounds: number;
  tolerances: Readonly<Record<string, number>>;
  limits?: (() => Promise<Limits>) | undefined;
  budget_seconds?: number;
  /** Default: WARM_UP. */
  warm_up?: number;
  /** Drop peers that take seconds a step. */
  drop_slow?: boolean;
}

export interface Measured {
  rounds: Round[];
  checks: Record<string, Check>;
  /** Peers without a ratio, and why. */
  missing: Record<string, string>;
}

export async function measure(
  ours: Ours,
  peers: readonly { name: string; side: Side }[],
  { rounds, tolerances, limits, budget_seconds = 75, warm_up = WARM_UP, drop_slow = false }: MeasureOptions,
): Promise<Measured> {
  const measured: Round[] = [];
  const answers = new Map<string, [Answer, Answer][]>();
  const missing: Record<string, string> = {};
  const start = performance.now();
  const seconds = () => (performance.now() - start) / 1e3;
  let warmUp = warm_up;
  for (let round = 0; measured.length < rounds; ++round) {
    const others: Record<string, Timed> = {};
    const runPeers = async (order: typeof peers) => {
      for (const { name, side } of order) {
        if (name in missing) continue;
        try {
          others[name] = await watched(() => side.run(ours.peerRows(round)));
        } catch (error) {
          missing[name] = error instanceof Error ? error.message : String(error);
        }
      }
    };
    const began = seconds();
    if (round % 2 === 1) await runPeers(peers.toReversed());
    const own = round % 2 === 0 ? await watched(() => ours.run(round)) : undefined;
    const found = (await limits?.()) ?? {};
    const last = own ?? (await watched(() => ours.run(round)));
    if (round % 2 === 0) await runPeers(peers);
    const took = seconds() - began;
    for (const [name, answer] of Object.entries(others)) {
      const before = answers.get(name) ?? [];
      answers.set(name, [...before, [last, answer]]);
      if (drop_slow && round === 0 && answer.seconds > SLOW_S)
        missing[name] = `${answer.seconds.toFixed(1)} s a step: run at the largest thread count only`;
    }
    if (round === 0 && took > LONG_ROUND_S) warmUp = 1;
    if (round < warmUp) continue;
    measured.push({ work: ours.work(round), ours: last, peers: others, limits: found });
    if (measured.length >= FEWEST && seconds() + took > budget_seconds) break;
  }
  const checks: Record<string, Check> = {};
  for (const [name, pairs] of answers) checks[name] = check(pairs, tolerances);
  return { rounds: measured, checks, missing };
}
