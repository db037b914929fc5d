// Did both sides compute the same? A ratio only stands beside a yes.

import type { Answer, Checks } from './case.js';

export interface Check {
  /** By key, |ours − peer| / max(1, |peer|), the worst of all rounds; null: not comparable (lengths differ, not a number). */
  differences: Record<string, number | null>;
  agrees: boolean;
}

type Checked = Pick<Answer, 'checks'>;

/** Warm-up rounds count: all sides take the same steps from the same weights, so every later round checks the steps before it. */
export function check(
  pairs: readonly (readonly [Checked, Checked])[],
  tolerances: Readonly<Record<string, number>>,
): Check {
  const differences: Record<string, number | null> = {};
  let agrees = true;
  for (const [key, tolerance] of Object.entries(tolerances)) {
    const found = pairs
      .filter(([, peer]) => key in peer.checks)
      .map(([ours, peer]) => difference(ours.checks[key], peer.checks[key]));
    if (found.length === 0) continue;
    const worst = found.reduce((a, b) => Math.max(a, b)); // NaN stays NaN
    differences[key] = Number.isFinite(worst) ? worst : null;
    agrees &&= found.length === pairs.length && worst <= tolerance;
  }
  return { differences, agrees: agrees && Object.keys(differences).length > 0 };
}

function difference(ours: Checks[string] | undefined, peer: Checks[string] | undefined): number {
  if (ours === undefined || peer === undefined) return Number.NaN;
  const [a, b] = [[ours].flat(), [peer].flat()];
  if (a.length !== b.length || a.length === 0) return Number.NaN;
  return a
    .map((value, i) => Math.abs(value - (b[i] ?? Number.NaN)) / Math.max(1, Math.abs(b[i] ?? Number.NaN)))
    .reduce((x, y) => Math.max(x, y));
}
