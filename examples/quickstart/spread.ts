// Is a difference between IRFT and SFT more than the luck of one draw? Each base with three draws of 200 demonstrations, the settings of
// recipes.ts, the test prompts: the mean difference of gold reward and its standard error over the nine.
//   node --import tsx examples/quickstart/spread.ts

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../../src/index.js';
import { CORRUPTED, files, readJsonl, writeJsonl } from './files.js';
import { deviation, mean, measure, type Prompts, readPrompts, TEMPERATURES } from './measure.js';
import { chosen, recipeFor } from './recipes.js';
import { aligned } from './table.js';
import { makeDemonstrations } from './world.js';

const out = join('runs', 'quickstart', 'spread');
const BASES = [1, 2, 3];
/** Draw 0 is the one of the quickstart's table. */
const DRAWS = [0, 1, 2];
const KINDS = ['clean', 'corrupted'] as const;
type Kind = (typeof KINDS)[number];

await mkdir(out, { recursive: true });
const kept = [...(await readJsonl(files.dev)), ...(await readJsonl(files.test))].flatMap((row) =>
  'prompt' in row ? [row.prompt] : [],
);

async function demonstrations(base: number, draw: number, kind: Kind): Promise<string> {
  if (draw === 0) return files.demonstrations(base, kind);
  const path = join(out, `demonstrations-${base}-${draw}-${kind}.jsonl`);
  const of = { seed: 500 + 10 * base + draw, name: 'draw', count: 200, corrupted: CORRUPTED[kind] };
  await writeJsonl(path, makeDemonstrations({ ...of, used: new Set(kept) }));
  return path;
}

/** Mean gold reward at each of TEMPERATURES. */
async function goldOf(
  method: 'sft' | 'irft',
  kind: Kind,
  seed: number,
  train: string,
  prompts: Prompts,
): Promise<number[]> {
  const recipe = recipeFor(method, chosen[kind][method], { seed, train, output: join(out, 'run') });
  const { final } = await run(recipe, { overwrite: true });
  return (await measure(final, prompts)).rewards.map(mean);
}

const differences: Record<Kind, number[][]> = { clean: [], corrupted: [] };
for (const base of BASES) {
  const prompts = await readPrompts(files.test, files.base(base));
  for (const draw of DRAWS) {
    for (const kind of KINDS) {
      const train = await demonstrations(base, draw, kind);
      const sft = await goldOf('sft', kind, base, train, prompts);
      const irft = await goldOf('irft', kind, base, train, prompts);
      differences[kind].push(irft.map((gold, place) => gold - (sft[place] ?? Number.NaN)));
      const figures = (gold: readonly number[]) => gold.map((value) => value.toFixed(3)).join(' ');
      process.stderr.write(`base ${base}, draw ${draw}, ${kind}: SFT ${figures(sft)}, IRFT ${figures(irft)}\n`);
    }
  }
}

const lines = KINDS.map((kind) => [
  kind,
  ...TEMPERATURES.map((_, place) => {
    const values = differences[kind].map((gold) => gold[place] ?? Number.NaN);
    return `${mean(values).toFixed(3)} ± ${(deviation(values) / Math.sqrt(values.length)).toFixed(3)}`;
  }),
]);
process.stdout.write(`${aligned([['IRFT − SFT', 'T 1', 'T 0.7', 'greedy'], ...lines]).join('\n')}\n`);
