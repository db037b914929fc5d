// The table that the bench prints: a line for gleaner, one below for each peer.

import Table from 'cli-table3';
import type { Check } from './check.js';
import type { CurveRow, FiguresRow, RoundsRow, Row } from './results.js';
import { type Spread, type Summary, summaryOf } from './summary.js';

const NONE = '–';

const COLUMNS = [
  'case',
  'threads',
  'ms',
  'ratio',
  'CPU ratio',
  'goal',
  'check',
  'tokens/s',
  'of the limit',
  'rounds',
] as const;

/** A line's cells; a column that is not named stays empty. */
type Line = Partial<Record<(typeof COLUMNS)[number], string>>;

export function table(rows: readonly Row[]): string {
  const out = new Table({ head: [...COLUMNS], style: { head: [], border: [] } });
  for (const line of rows.flatMap(linesOf)) out.push(COLUMNS.map((column) => line[column] ?? ''));
  return out.toString();
}

function linesOf(row: Row): Line[] {
  if (row.kind === 'rounds') return roundsLines(row);
  return row.kind === 'figures' ? figuresLines(row) : curveLines(row);
}

function roundsLines(row: RoundsRow): Line[] {
  const found = summaryOf(row);
  const { goals, rounds, checks, missing } = row;
  const busy = found.busy_rounds > 0 ? `, ${found.busy_rounds} busy` : '';
  const ours: Line = {
    case: row.name,
    threads: String(row.threads),
    ms: milliseconds(found.ours_ms),
    goal: limitGoal(goals),
    'tokens/s': found.tokens_per_second && rounds[0]?.work.tokens ? found.tokens_per_second.median.toFixed(0) : NONE,
    'of the limit': limit(found),
    rounds: `${rounds.length}${busy}`,
  };
  const names = new Set([...Object.keys(found.peers), ...Object.keys(missing)]);
  const peers = [...names].map((peer): Line => {
    const { ms, ratio: times, cpu_ratio } = found.peers[peer] ?? {};
    const goal = goals.ratio?.[peer];
    const met = goal !== undefined && times ? (times.median >= goal ? ' ✓' : ' missed') : '';
    const why = missing[peer];
    return {
      case: `  ${peer}`,
      ms: milliseconds(ms),
      ratio: ratio(times),
      'CPU ratio': ratio(cpu_ratio),
      goal: goal === undefined ? '' : `${goal}×${met}`,
      check: why === undefined ? said(checks[peer]) : `no ratio: ${why.slice(0, 60)}`,
    };
  });
  return [ours, ...peers];
}

function figuresLines(row: FiguresRow): Line[] {
  return row.figures.flatMap(({ name, unit, ours, peers, at_most }): Line[] => [
    {
      case: `${row.name}: ${name}`,
      threads: String(row.threads),
      ms: amount(ours, unit),
      goal: at_most === undefined ? '' : `≤ ${amount(at_most, unit)}${ours <= at_most ? ' ✓' : ' missed'}`,
    },
    ...Object.entries(peers).map(([peer, value]) => ({
      case: `  ${peer}`,
      ms: amount(value, unit),
      ratio: (value / ours).toFixed(2),
    })),
  ]);
}

function curveLines(row: CurveRow): Line[] {
  return row.lines.map(({ name, points }) => {
    const text = points.map(({ x, y }) => `${x}: ${y < 10 ? y.toPrecision(2) : y.toFixed(0)}`).join(', ');
    return { case: `${row.name}: ${name}`, threads: String(row.threads), ms: `${row.y.label}: ${text}` };
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
