// Two runs of the bench: what became slower beyond the noise of both.

import Table from 'cli-table3';
import type { Round } from './measure.js';
import type { Report, RoundsRow } from './results.js';
import {
  isBusy,
  ratioTo,
  shareOfBandwidth,
  shareOfPeak,
  spread,
  summaryOf,
  tokensPerSecond,
  valuesOf,
} from './summary.js';
import { ratio } from './table.js';

/** A change below this is never called one. */
const SMALL = 0.03;
/** Standard errors of the difference. */
const SURE = 3;

export interface Comparison {
  row: string;
  threads: number;
  figure: string;
  old: readonly number[];
  now: readonly number[];
  /** Of the medians: above 1, now is faster. */
  change: number;
  verdict: 'worse' | 'better' | 'same' | 'context';
}

/** Rows that both have. Tokens a second of two machines, or of a busy one, are context and never a regression. */
export function compared(old: Report, now: Report): Comparison[] {
  const sameMachine = old.machine.cpu === now.machine.cpu && old.machine.isa === now.machine.isa;
  return now.rows.flatMap((row) => {
    if (row.kind !== 'rounds') return [];
    const before = old.rows.find(
      (other): other is RoundsRow =>
        other.kind === 'rounds' && other.name === row.name && other.threads === row.threads,
    );
    return before ? rowsCompared(before, row, sameMachine) : [];
  });
}

function rowsCompared(before: RoundsRow, row: RoundsRow, sameMachine: boolean): Comparison[] {
  const of = (figure: string, value: (round: Round) => number | undefined, judged: boolean): Comparison[] => {
    const [old, now] = [valuesOf(quiet(before.rounds), value), valuesOf(quiet(row.rounds), value)];
    const [a, b] = [spread(old), spread(now)];
    if (!a || !b || a.median === 0) return [];
    const verdict = judged ? judge(old, now) : 'context';
    return [{ row: row.name, threads: row.threads, figure, old, now, change: b.median / a.median, verdict }];
  };
  const [had, has] = [summaryOf(before).peers, summaryOf(row).peers];
  const peers = Object.keys(had).filter((peer) => had[peer]?.ratio && has[peer]?.ratio);
  const noise = [before, row].every(({ rounds }) => rounds.filter(isBusy).length * 2 <= rounds.length);
  return [
    ...peers.flatMap((peer) => of(`ratio to ${peer}`, ratioTo(peer), true)),
    ...of('share of peak', shareOfPeak(row.precision), true),
    ...of('share of read bandwidth', shareOfBandwidth, true),
    ...of('tokens/s', (round) => tokensPerSecond(round) || undefined, sameMachine && noise),
  ];
}

/** Without busy rounds, where three quiet ones are left. */
function quiet(rounds: readonly Round[]): readonly Round[] {
  const left = rounds.filter((round) => !isBusy(round));
  return left.length >= 3 ? left : rounds;
}

export function judge(old: readonly number[], now: readonly number[]): 'worse' | 'better' | 'same' {
  const [a, b] = [spread(old)?.median ?? 0, spread(now)?.median ?? 0];
  const beyond = Math.max(SURE * Math.hypot(error(old), error(now)), SMALL * a);
  if (b < a - beyond) return 'worse';
  return b > a + beyond ? 'better' : 'same';
}

/** Standard error of a median, from the median deviation, which one disturbed round does not move. */
function error(values: readonly number[]): number {
  const median = spread(values)?.median ?? 0;
  const deviation = spread(values.map((value) => Math.abs(value - median)))?.median ?? 0;
  return (1.2533 * 1.4826 * deviation) / Math.sqrt(Math.max(1, values.length));
}

export function comparison(found: readonly Comparison[], old: Report, now: Report): string {
  const out = new Table({
    head: ['case', 'threads', 'figure', `old ${old.commit}`, `new ${now.commit}`, 'change', ''],
    style: { head: [], border: [] },
  });
  for (const one of found) {
    out.push([
      one.row,
      String(one.threads),
      one.figure,
      ratio(spread(one.old)),
      ratio(spread(one.now)),
      `${(100 * (one.change - 1)).toFixed(1)} %`,
      one.verdict === 'same' || one.verdict === 'context' ? '' : one.verdict,
    ]);
  }
  const worse = found.filter(({ verdict }) => verdict === 'worse').length;
  const verdict = worse === 0 ? 'No regression beyond the noise.' : `${worse} regression${worse > 1 ? 's' : ''}.`;
  return `${out.toString()}\n${found.length === 0 ? 'The two runs have no row in common.' : verdict}`;
}
