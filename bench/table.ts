// The table that the bench prints.

import Table from 'cli-table3';
import type { Check, Spread, Summary } from './measure.js';

export interface Row {
  name: string;
  threads: number;
  check: Check | undefined;
  rounds: readonly unknown[];
  summary: Summary;
}

const NONE = '–';

export function table(rows: readonly Row[]): string {
  const out = new Table({
    head: ['case', 'threads', 'ours ms', 'peer ms', 'ratio', 'CPU ratio', 'check', 'tokens/s', 'of FMA peak', 'busy'],
    style: { head: [], border: [] },
  });
  for (const { name, threads, check, rounds, summary } of rows) {
    out.push([
      name,
      String(threads),
      milliseconds(summary.ours_ms),
      milliseconds(summary.peer_ms),
      ratio(summary.ratio),
      ratio(summary.cpu_ratio),
      said(check),
      summary.tokens_per_second?.median.toFixed(0) ?? NONE,
      summary.share_of_peak ? `${(100 * summary.share_of_peak.median).toFixed(0)} %` : NONE,
      `${summary.busy_rounds}/${rounds.length}`,
    ]);
  }
  return out.toString();
}

function milliseconds(value: Spread | undefined): string {
  return value ? value.median.toFixed(0) : NONE;
}

function ratio(value: Spread | undefined): string {
  return value ? `${value.median.toFixed(2)} [${value.min.toFixed(2)}–${value.max.toFixed(2)}]` : NONE;
}

function said(check: Check | undefined): string {
  if (!check) return NONE;
  const differences = `loss ${check.loss.toExponential(0)}, norm ${check.grad_norm.toExponential(0)}`;
  return check.agrees ? `✓ ${differences}` : `✗ ${differences}: no ratio`;
}
