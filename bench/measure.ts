// Rounds, interleaved A B B A, so that a drifting machine weighs on both sides alike. A ratio is the median of the rounds' own ratios, and
// only stands beside a check that both sides computed the same.

import type { Answer, Ours, Work } from './case.js';
import { watched } from './machine.js';
import type { Peer } from './peer.js';

/** Not counted: caches, page faults, lazy initialisation. */
export const WARM_UP = 2;
const LOSS_TOLERANCE = 1e-4;
const GRAD_NORM_TOLERANCE = 1e-3;
/** A round in which others used more of the machine than this is called busy. */
const BUSY = 0.25;

export type Timed = Answer & { foreign: number | undefined };
export interface Round {
  work: Work;
  ours: Timed;
  peer?: Timed;
  /** GFLOP/s of the machine's multiply-adds, measured between the two sides. */
  peak?: number;
}

/** Differences of what both sides computed: |ours − peer| / max(1, |peer|), the worst of the rounds. */
export interface Check {
  loss: number;
  grad_norm: number;
  agrees: boolean;
}

export interface Spread {
  median: number;
  min: number;
  max: number;
}

export async function measure(
  ours: Ours,
  peer: Peer | undefined,
  rounds: number,
  peak: (() => Promise<number>) | undefined,
): Promise<{ check: Check | undefined; rounds: Round[] }> {
  const measured: Round[] = [];
  const pairs: [Answer, Answer][] = [];
  for (let round = 0; round < WARM_UP + rounds; ++round) {
    const runOurs = () => watched(() => ours.run(round));
    const runPeer = async () => peer && (await watched(() => peer.run(ours.peerRows(round))));
    let [own, other, gflops]: [Timed | undefined, Timed | undefined, number | undefined] = [
      undefined,
      undefined,
      undefined,
    ];
    if (round % 2 === 0) {
      own = await runOurs();
      gflops = await peak?.();
      other = await runPeer();
    } else {
      other = await runPeer();
      gflops = await peak?.();
      own = await runOurs();
    }
    if (other) pairs.push([own, other]);
    if (round < WARM_UP) continue;
    measured.push({
      work: ours.work(round),
      ours: own,
      ...(other ? { peer: other } : {}),
      ...(gflops === undefined ? {} : { peak: gflops }),
    });
  }
  return { check: peer && check(pairs), rounds: measured };
}

/** Warm-up rounds count: both sides take the same steps from the same weights, so every later round checks the steps before it. */
export function check(pairs: readonly (readonly [Pick<Answer, 'checks'>, Pick<Answer, 'checks'>])[]): Check {
  const worst = (key: keyof Answer['checks']) =>
    Math.max(
      0,
      ...pairs.map(
        ([ours, peer]) => Math.abs(ours.checks[key] - peer.checks[key]) / Math.max(1, Math.abs(peer.checks[key])),
      ),
    );
  const [loss, grad_norm] = [worst('loss'), worst('grad_norm')];
  return { loss, grad_norm, agrees: pairs.length > 0 && loss <= LOSS_TOLERANCE && grad_norm <= GRAD_NORM_TOLERANCE };
}

export function spread(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.ceil((sorted.length - 1) / 2)]];
  if (min === undefined || max === undefined || low === undefined || high === undefined) return undefined;
  return { median: (low + high) / 2, min, max };
}

export interface Summary {
  ours_ms: Spread | undefined;
  peer_ms: Spread | undefined;
  /** Peer's time over ours: above 1, gleaner is faster. */
  ratio: Spread | undefined;
  /** The same of process CPU seconds, which a busy neighbour disturbs less. */
  cpu_ratio: Spread | undefined;
  /** Real tokens: no padding, a shared prompt once. */
  tokens_per_second: Spread | undefined;
  /** Needed arithmetic over time and the peak of the same round. */
  share_of_peak: Spread | undefined;
  /** Tokens that the peer computed over the real ones. */
  peer_tokens_ratio: Spread | undefined;
  busy_rounds: number;
}

export function summary(rounds: readonly Round[], agreed: boolean): Summary {
  const of = (value: (round: Round) => number | undefined) =>
    spread(rounds.map(value).filter((number): number is number => number !== undefined));
  return {
    ours_ms: of(({ ours }) => ours.seconds * 1e3),
    peer_ms: of(({ peer }) => peer && peer.seconds * 1e3),
    ratio: agreed ? of(({ ours, peer }) => peer && peer.seconds / ours.seconds) : undefined,
    cpu_ratio: agreed ? of(({ ours, peer }) => peer && peer.cpu_seconds / ours.cpu_seconds) : undefined,
    tokens_per_second: of(({ work, ours }) => work.tokens / ours.seconds),
    share_of_peak: of(({ work, ours, peak }) => peak && work.flops / 1e9 / ours.seconds / peak),
    peer_tokens_ratio: of(({ work, peer }) => peer && peer.tokens / work.tokens),
    busy_rounds: rounds.filter(({ ours, peer }) => Math.max(ours.foreign ?? 0, peer?.foreign ?? 0) > BUSY).length,
  };
}
