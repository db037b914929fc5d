// The search behind recipes.ts: as many settings for SFT as for SPIN and for IRFT, each looked at after every 5 steps, on the dev prompts and on
// demonstrations that the table does not use.
//   node --import tsx examples/quickstart/search.ts [--seeds 1,2,3] [--methods sft,spin,irft]

import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { run } from '../../src/index.js';
import { CORRUPTED, type Demonstrations, files, readJsonl, writeJsonl } from './files.js';
import { mean, meanReward } from './measure.js';
import { BUDGET, METHODS, type MethodName, recipeFor, type Settings } from './recipes.js';
import { aligned } from './table.js';
import { makeDemonstrations } from './world.js';

const EVERY = 5;
const STOPS = Array.from({ length: BUDGET / EVERY }, (_, place) => EVERY * (place + 1));
const out = join('runs', 'quickstart', 'search');

type Candidate = Omit<Settings, 'steps'>;

const sft = (learning_rate: number): Candidate => ({ learning_rate });
const spin = (learning_rate: number, beta: number, iterations: number, mix_previous = 0): Candidate => ({
  learning_rate,
  epochs: Math.floor(BUDGET / iterations / 13), // 13 steps go once through 200 demonstrations
  spin: { beta, iterations, mix_previous },
});
const irft = (learning_rate: number, beta: number, nll_weight: number, rounds = 1): Candidate => ({
  learning_rate,
  irft: { beta, nll_weight, rounds, chunks: 'all', steps_per_round: BUDGET / rounds },
});

const candidates: Readonly<Record<MethodName, readonly Candidate[]>> = {
  sft: [1e-4, 2e-4, 3e-4, 4.5e-4, 5.5e-4, 7e-4, 9e-4, 1.2e-3].map(sft),
  spin: [
    spin(1e-4, 0.1, 2),
    spin(2e-4, 0.1, 2),
    spin(3e-4, 0.1, 2),
    spin(2e-4, 0.03, 2),
    spin(1e-4, 0.1, 4),
    spin(1e-4, 0.1, 2, 1),
    spin(4.5e-4, 0.1, 2),
    spin(3e-4, 0.1, 2, 1),
  ],
  irft: [
    irft(1e-4, 0.1, 0),
    irft(3e-4, 0.1, 1),
    irft(3e-4, 0.03, 1),
    irft(3e-4, 0.3, 4),
    irft(4.5e-4, 0.1, 4),
    irft(4.5e-4, 0.3, 4),
    irft(7e-4, 0.1, 4),
    irft(3e-4, 0.1, 1, 2),
  ],
};

interface Found {
  candidate: Candidate;
  /** Mean gold on the dev prompts after each of STOPS that the run reached, over the seeds. */
  gold: number[];
}

/** The best stop by the mean of it and its neighbours, so that one lucky value does not choose. */
function bestStop({ gold }: Found): { steps: number; smooth: number } {
  const smooth = gold.map((_, place) => mean(gold.slice(Math.max(0, place - 1), place + 2)));
  const best = smooth.indexOf(Math.max(...smooth));
  return { steps: STOPS[best] ?? 0, smooth: smooth[best] ?? 0 };
}

/** Mean gold over the dev prompts after each of STOPS that one run reaches. */
async function tryOn(seed: number, kind: Demonstrations, method: MethodName, candidate: Candidate): Promise<number[]> {
  const key = JSON.stringify({ seed, kind, method, candidate });
  const known = done.get(key);
  if (known) return known;
  const start = { seed, train: trainFile(seed, kind), output: join(out, `run-${seed}`) };
  const recipe = recipeFor(method, { ...candidate, steps: BUDGET }, start);
  const checkpoint = { every: EVERY, keep: STOPS.length };
  const { output, steps } = await run({ ...recipe, checkpoint }, { overwrite: true });
  const gold: number[] = [];
  for (const stop of STOPS.filter((stop) => stop <= steps)) {
    gold.push(await meanReward(join(output, 'checkpoints', `step-${stop}`, 'policy'), dev, 2));
  }
  done.set(key, gold);
  await writeFile(doneFile, JSON.stringify([...done], null, 1));
  return gold;
}

async function tryOut(method: MethodName, kind: Demonstrations, candidate: Candidate): Promise<Found> {
  const bySeed: number[][] = [];
  for (const seed of seeds) bySeed.push(await tryOn(seed, kind, method, candidate));
  const reached = Math.min(...bySeed.map((gold) => gold.length)); // pairs with y = ỹ are dropped, so a seed may have fewer steps
  const gold = Array.from({ length: reached }, (_, place) => mean(bySeed.map((seed) => seed[place] ?? Number.NaN)));
  return { candidate, gold };
}

function trainFile(seed: number, kind: Demonstrations): string {
  return join(out, `demonstrations-${seed}-${kind}.jsonl`);
}

function describe({ learning_rate, spin, irft }: Candidate): string {
  const parts = Object.entries({ ...spin, ...irft }).filter(([key]) => key !== 'chunks' && key !== 'steps_per_round');
  return [`lr ${learning_rate}`, ...parts.map(([key, value]) => `${key} ${value}`)].join(', ');
}

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '1,2,3' }, methods: { type: 'string', default: METHODS.join() } },
});
const seeds = values.seeds.split(',').map(Number);
await mkdir(out, { recursive: true });
const dev = await readJsonl(files.dev);
/** What was tried before, by this search or by one beside it; delete runs/quickstart/search to begin anew. */
const doneFile = join(out, `done-${values.seeds}.json`);
const done = new Map<string, number[]>();
for (const name of (await readdir(out)).filter((name) => name.startsWith('done-'))) {
  const entries: [string, number[]][] = JSON.parse(await readFile(join(out, name), 'utf8'));
  for (const [key, gold] of entries) done.set(key, gold);
}
const kept = [...dev, ...(await readJsonl(files.test))].flatMap((row) => ('prompt' in row ? [row.prompt] : []));
for (const seed of seeds) {
  for (const kind of ['clean', 'corrupted'] as const) {
    const of = { seed: 100 + seed, name: `search-${seed}`, count: 200, corrupted: CORRUPTED[kind] };
    await writeJsonl(trainFile(seed, kind), makeDemonstrations({ ...of, used: new Set(kept) }));
  }
}
for (const kind of ['corrupted', 'clean'] as const) {
  const lines: string[][] = [];
  for (const method of METHODS.filter((name) => values.methods.split(',').includes(name))) {
    for (const candidate of candidates[method]) {
      const found = await tryOut(method, kind, candidate);
      const { steps, smooth } = bestStop(found);
      lines.push([method, describe(candidate), smooth.toFixed(3), `${steps}`, found.gold.at(-1)?.toFixed(3) ?? '']);
      process.stderr.write(`${kind} ${lines.at(-1)?.join(' | ')} | ${found.gold.map((gold) => gold.toFixed(3))}\n`);
    }
  }
  const head = [kind, 'settings', 'best dev gold', 'after updates', 'at the end'];
  process.stdout.write(`${aligned([head, ...lines], 2).join('\n')}\n\n`);
}
