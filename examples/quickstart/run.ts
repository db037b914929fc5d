// npm run quickstart [-- --seeds 3]: trains SFT, SPIN and IRFT from the same base with the same budget of updates, on clean and on corrupted
// demonstrations, and prints what became of the base on prompts that nothing was trained or tuned on.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { run, writeReport } from '../../src/index.js';
import { type Demonstrations, files } from './files.js';
import { type Measured, measure, type Prompts, readPrompts, sum, winRate } from './measure.js';
import { chosen, METHODS, recipeFor } from './recipes.js';
import { type Shown, samplesOf, tableOf } from './table.js';

const out = join('runs', 'quickstart');
const KINDS = ['clean', 'corrupted'] as const;

async function trained(
  method: (typeof METHODS)[number],
  kind: Demonstrations,
  seed: number,
): Promise<{ folder: string; steps: number; tokens_per_second: number }> {
  const recipe = recipeFor(method, chosen[kind][method], {
    seed,
    train: files.demonstrations(seed, kind),
    output: join(out, `${method}-${kind}-${seed}`),
  });
  let tokens = 0;
  const seconds: number[] = [];
  const { final, steps } = await run(recipe, {
    overwrite: true,
    onMetrics: (record) => {
      tokens = record.num_tokens ?? tokens;
      seconds.push((record['time/update'] ?? 0) + (record['time/generation'] ?? 0));
    },
  });
  return { folder: final, steps, tokens_per_second: tokens / sum(seconds) };
}

/** One seed and one kind of demonstrations: a row for the base and for each method. */
async function rowsOf(seed: number, kind: Demonstrations, prompts: Prompts, base: Measured): Promise<Shown[]> {
  const rows: Shown[] = [{ name: 'base', measured: base }];
  let ofSft: number[] | undefined;
  for (const method of METHODS) {
    const { folder, steps, tokens_per_second } = await trained(method, kind, seed);
    const measured = await measure(folder, prompts);
    const atOne = measured.rewards[0] ?? [];
    ofSft ??= atOne; // SFT is the first of METHODS
    rows.push({
      name: method.toUpperCase(),
      measured,
      steps,
      tokens_per_second,
      ...(method === 'sft' ? {} : { wins: winRate(atOne, ofSft) }),
    });
    say(`seed ${seed}, ${kind} demonstrations: ${method} done`);
  }
  return rows;
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

const { values } = parseArgs({ options: { seeds: { type: 'string', default: '1' } } });
const numSeeds = Number(values.seeds);
if (![1, 2, 3].includes(numSeeds)) {
  say(`--seeds ${values.seeds}: 1, 2 or 3; examples/quickstart/make.ts makes bases for further seeds`);
  process.exit(2);
}

const began = performance.now();
const results: Record<Demonstrations, Shown[][]> = { clean: [], corrupted: [] };
for (let seed = 1; seed <= numSeeds; ++seed) {
  const prompts = await readPrompts(files.test, files.base(seed));
  const base = await measure(files.base(seed), prompts);
  for (const kind of KINDS) results[kind].push(await rowsOf(seed, kind, prompts, base));
}

const titles = { clean: '200 clean demonstrations', corrupted: '200 demonstrations, 30 % of them corrupted' } as const;
const report = [
  ...KINDS.flatMap((kind) => [titles[kind], '', ...tableOf(results[kind]), '']),
  'At temperature 1, after clean demonstrations:',
  '',
  ...samplesOf(results.clean[0] ?? []),
].join('\n');
await mkdir(out, { recursive: true });
await writeFile(join(out, 'results.md'), `${report}\n`);
const page = join(out, 'report.html');
await writeReport(
  METHODS.map((method) => join(out, `${method}-clean-1`)),
  page,
);
process.stdout.write(`\n${report}\nThe runs side by side, with their curves and texts: ${page}\n`);
say(`${((performance.now() - began) / 1000).toFixed(0)} s; the models lie in ${out}`);
