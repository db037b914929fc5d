// The table that the bench prints: a line for gleaner, one below for each peer.

import Table from 'cli-table3';
import type { Check } from './check.js';
import type { CurveRow, FiguresRow, RoundsRow, Row } from './results.js';
import { type Spread, type Summary, summary } from './summary.js';

const NONE = '–';

/** The summary as the rounds themselves give it, whatever a file says. */
export function summaryOf(row: RoundsRow): Summary {
  const agreed = Object.entries(row.checks).flatMap(([name, { agrees }]) =>
    agrees && !(name in row.missing) ? [name] : [],
  );
  return summary(row.rounds, agreed, row.precision);
}

export function table(rows: readonly Row[]): string {
  const out = new Table({
    head: ['case', 'threads', 'ms', 'ratio', 'CPU ratio', 'goal', 'check', 'tokens/s', 'of the limit', 'rounds'],
    style: { head: [], border: [] },
  });
  for (const row of rows) {
    if (row.kind === 'rounds') out.push(...roundsLines(row));
    else if (row.kind === 'figures') out.push(...figuresLines(row));
    else out.push(...curveLines(row));
  }
  return out.toString();
}

function roundsLines(row: RoundsRow): string[][] {
  const found = summaryOf(row);
  const { goals, rounds, checks, missing } = row;
  const busy = found.busy_rounds > 0 ? `, ${found.busy_rounds} busy` : '';
  const lines = [
    [
      row.name,
      String(row.threads),
      milliseconds(found.ours_ms),
      '',
      '',
      limitGoal(goals),
      '',
      found.tokens_per_second && rounds[0]?.work.tokens ? found.tokens_per_second.median.toFixed(0) : NONE,
      limit(found),
      `${rounds.length}${busy}`,
    ],
  ];
  for (const peer of new Set([...Object.keys(found.peers), ...Object.keys(missing)])) {
    const { ms, ratio: times, cpu_ratio } = found.peers[peer] ?? {};
    const goal = goals.ratio?.[peer];
    const met = goal !== undefined && times ? (times.median >= goal ? ' ✓' : ' missed') : '';
    const why = missing[peer];
    lines.push([
      `  ${peer}`,
      '',
      milliseconds(ms),
      ratio(times),
      ratio(cpu_ratio),
      goal === undefined ? '' : `${goal}×${met}`,
      why === undefined ? said(checks[peer]) : `no ratio: ${why.slice(0, 60)}`,
      '',
      '',
      '',
    ]);
  }
  return lines;
}

function figuresLines(row: FiguresRow): string[][] {
  return row.figures.flatMap(({ name, unit, ours, peers, at_most }) => [
    [
      `${row.name}: ${name}`,
      String(row.threads),
      amount(ours, unit),
      '',
      '',
      at_most === undefined ? '' : `≤ ${amount(at_most, unit)}${ours <= at_most ? ' ✓' : ' missed'}`,
      '',
      '',
      '',
      '',
    ],
    ...Object.entries(peers).map(([peer, value]) => [
      `  ${peer}`,
      '',
      amount(value, unit),
      (value / ours).toFixed(2),
      '',
      '',
      '',
      '',
      '',
      '',
    ]),
  ]);
}

function curveLines(row: CurveRow): string[][] {
  return row.lines.map(({ name, points }) => {
    const text = points.map(({ x, y }) => `${x}: ${y < 10 ? y.toPrecision(2) : y.toFixed(0)}`).join(', ');
    return [
      `${row.name}: ${name}`,
      String(row.threads),
      { toString: () => `${row.y.label}: ${text}` }.toString(),
      '',
      '',
      '',
      '',
      '',
      '',
      '',
    ];
  });
}

export function amount(value: number, unit: 'bytes' | 'seconds'): string {
  return unit === 'bytes' ? `${(value / 1e6).toFixed(0)} MB` : `${value.toFixed(2)} s`;
}

export function limit({ share_of_peak, share_of_bandwidth }: Summary): string {
  const parts = [
    share_of_peak && `${percent(share_of_peak)} peak`,
    share_of_bandwidth && `${percent(share_of_bandwidth)} read`,
  ].filter((part) => part !== undefined);
  return parts.join(', ') || NONE;
}

function limitGoal({ share_of_peak, share_of_bandwidth }: RoundsRow['goals']): string {
  const share = share_of_peak ?? share_of_bandwidth;
  return share === undefined ? '' : `${(100 * share).toFixed(0)} % ${share_of_peak === undefined ? 'read' : 'peak'}`;
}

function percent({ median }: Spread): string {
  return `${(100 * median).toFixed(0)} %`;
}

function milliseconds(value: Spread | undefined): string {
  if (!value) return NONE;
  return value.median < 100 ? value.median.toPrecision(3) : value.median.toFixed(0);
}

export function ratio(value: Spread | undefined): string {
  return value ? `${value.median.toFixed(2)} [${value.min.toFixed(2)}–${value.max.toFixed(2)}]` : NONE;
}

export function said(check: Check | undefined): string {
  if (!check) return NONE;
  const differences = Object.entries(check.differences)
    .map(([key, value]) => `${key} ${value === null ? 'not comparable' : value.toExponential(0)}`)
    .join(', ');
  return check.agrees ? `✓ ${differences}` : `✗ ${differences || 'nothing to compare'}: no ratio`;
}
