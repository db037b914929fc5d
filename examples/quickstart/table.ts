// The table: one line for the base and for each method; over several seeds mean ± standard deviation.

import { deviation, type Measured, mean } from './measure.js';

export interface Shown {
  name: string;
  measured: Measured;
  steps?: number;
  tokens_per_second?: number;
  /** Against SFT, at temperature 1; interval: half of the 95 % interval over the prompts. */
  wins?: { share: number; interval: number };
}

const HEAD = ['', 'gold T 1', 'T 0.7', 'greedy', 'wins against SFT', 'log-prob gap', 'NLL', 'updates', 'tokens/s'];

/** bySeed[seed][line]. */
export function tableOf(bySeed: readonly (readonly Shown[])[]): string[] {
  const lines = (bySeed[0] ?? []).map(({ name }, line) => {
    const runs = bySeed.flatMap((rows) => rows[line] ?? []);
    const gold = [0, 1, 2].map((temperature) =>
      spread(
        runs.map(({ measured }) => mean(measured.rewards[temperature] ?? [])),
        3,
      ),
    );
    const [first] = runs;
    return [
      name,
      ...gold,
      winsOf(runs),
      spread(
        runs.map(({ measured }) => measured.gap),
        1,
      ),
      spread(
        runs.map(({ measured }) => measured.nll),
        4,
      ),
      first?.steps?.toString() ?? '',
      first?.tokens_per_second === undefined ? '' : mean(runs.map((run) => run.tokens_per_second ?? 0)).toFixed(0),
    ];
  });
  return aligned([HEAD, ...lines]);
}

/** One seed: the interval over its prompts. Several: their spread, since they share the prompts. */
function winsOf(runs: readonly Shown[]): string {
  const wins = runs.flatMap((run) => run.wins ?? []);
  const [first] = wins;
  if (!first) return '';
  return wins.length === 1
    ? `${first.share.toFixed(3)} ± ${first.interval.toFixed(3)}`
    : spread(
        wins.map(({ share }) => share),
        3,
      );
}

function spread(values: readonly number[], digits: number): string {
  const middle = mean(values).toFixed(digits);
  return values.length === 1 ? middle : `${middle} ± ${deviation(values).toFixed(digits)}`;
}

/** A Markdown table whose columns line up on a terminal, too; the first `text` columns to the left, figures to the right. */
export function aligned(rows: readonly (readonly string[])[], text = 1): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(3, ...rows.map((row) => row[column]?.length ?? 0)));
  const cells = (row: readonly string[]) =>
    widths.map((width, column) => (column < text ? row[column]?.padEnd(width) : row[column]?.padStart(width)) ?? '');
  const rule = widths.map((width, column) => (column < text ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  const [head = [], ...body] = rows;
  return [cells(head), rule, ...body.map(cells)].map((row) => `| ${row.join(' | ')} |`);
}

/** Places of the prompts whose answers are shown. */
const SHOWN = [0, 2, 3];

/** The same prompt's answers, one after the other. */
export function samplesOf(rows: readonly Shown[]): string[] {
  return SHOWN.flatMap((place) => {
    const prompt = rows[0]?.measured.answers[place]?.prompt ?? '';
    return [
      ...prompt.split('\n').map((line) => `    ${line}`),
      ...rows.map(({ name, measured }) => {
        const reward = measured.rewards[0]?.[place] ?? Number.NaN;
        return `      ${`${name}:`.padEnd(6)}${measured.answers[place]?.response ?? ''}   (${reward.toFixed(1)})`;
      }),
      '',
    ];
  });
}
