// What rounds say: a ratio is the median of the rounds' own ratios, with its smallest and largest.

import type { Measured, Round } from './measure.js';

/** A round in which others used more of the machine than this is called busy. */
const BUSY = 0.25;

export interface Spread {
  median: number;
  min: number;
  max: number;
}

export interface PeerSummary {
  ms: Spread | undefined;
  /** Peer's time over ours: above 1, gleaner is faster. */
  ratio: Spread | undefined;
  /** The same of process CPU seconds, which a busy neighbour disturbs less. */
  cpu_ratio: Spread | undefined;
  /** Tokens that the peer computed over the real ones. */
  tokens_ratio: Spread | undefined;
}

export interface Summary {
  ours_ms: Spread | undefined;
  ours_cpu_ms: Spread | undefined;
  /** Real tokens: no padding, a shared prompt once. */
  tokens_per_second: Spread | undefined;
  items_per_second: Spread | undefined;
  /** Needed arithmetic over time and the peak of the same round. */
  share_of_peak: Spread | undefined;
  /** Bytes that must be read over time and the bandwidth of the same round. */
  share_of_bandwidth: Spread | undefined;
  peers: Record<string, PeerSummary>;
  busy_rounds: number;
}

export function spread(values: readonly number[]): Spread | undefined {
  const sorted = values.toSorted((a, b) => a - b);
  const [min, max] = [sorted[0], sorted.at(-1)];
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)], sorted[Math.ceil((sorted.length - 1) / 2)]];
  if (min === undefined || max === undefined || low === undefined || high === undefined) return undefined;
  return { median: (low + high) / 2, min, max };
}

type Value = (round: Round) => number | undefined;

export const tokensPerSecond: Value = ({ work, ours }) => work.tokens / ours.seconds;
export const shareOfPeak =
  (precision: 'fp32' | 'bf16'): Value =>
  ({ work, ours, limits }) => {
    const peak = precision === 'bf16' ? limits.bf16_gflops : limits.gflops;
    return peak && work.flops && work.flops / 1e9 / ours.seconds / peak;
  };
export const shareOfBandwidth: Value = ({ work, ours, limits }) =>
  limits.read_gb_per_s && work.bytes && work.bytes / 1e9 / ours.seconds / limits.read_gb_per_s;
export const ratioTo =
  (peer: string): Value =>
  ({ ours, peers }) => {
    const other = peers[peer];
    return other && other.seconds / ours.seconds;
  };

export function valuesOf(rounds: readonly Round[], value: Value): number[] {
  return rounds.map(value).filter((number): number is number => number !== undefined);
}

export function isBusy({ ours, peers }: Round): boolean {
  return Math.max(ours.foreign ?? 0, ...Object.values(peers).map(({ foreign }) => foreign ?? 0)) > BUSY;
}

/** `agreed`: the peers that may have a ratio. */
export function summary(
  rounds: readonly Round[],
  agreed: readonly string[],
  precision: 'fp32' | 'bf16' = 'fp32',
): Summary {
  const of = (value: Value) => spread(valuesOf(rounds, value));
  const names = new Set(rounds.flatMap(({ peers }) => Object.keys(peers)));
  const peers: Record<string, PeerSummary> = {};
  for (const name of names) {
    const stands = agreed.includes(name);
    peers[name] = {
      ms: of(({ peers }) => peers[name] && peers[name].seconds * 1e3),
      ratio: stands ? of(ratioTo(name)) : undefined,
      cpu_ratio: stands
        ? of(({ ours, peers }) => peers[name] && peers[name].cpu_seconds / ours.cpu_seconds)
        : undefined,
      tokens_ratio: of(({ work, peers }) => peers[name] && peers[name].tokens / work.tokens),
    };
  }
  return {
    ours_ms: of(({ ours }) => ours.seconds * 1e3),
    ours_cpu_ms: of(({ ours }) => ours.cpu_seconds * 1e3),
    tokens_per_second: of(tokensPerSecond),
    items_per_second: of(({ work, ours }) => work.items && work.items / ours.seconds),
    share_of_peak: of(shareOfPeak(precision)),
    share_of_bandwidth: of(shareOfBandwidth),
    peers,
    busy_rounds: rounds.filter(isBusy).length,
  };
}

/** As the rounds themselves give it, whatever a file says. */
export function summaryOf(row: Measured & { precision: 'fp32' | 'bf16' }): Summary {
  const agreed = Object.entries(row.checks).flatMap(([name, { agrees }]) =>
    agrees && !(name in row.missing) ? [name] : [],
  );
  return summary(row.rounds, agreed, row.precision);
}
