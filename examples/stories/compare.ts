// SFT, SPIN and IRFT (T = 1, 2, 5) from one start with the same number of updates, and the table and samples of docs/results.md.
//   node --import tsx examples/stories/compare.ts [--model DIR] [--data DIR] [--out DIR] [--rows N] [--eval-rows N]

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Answer, type Recipe, type RecipeInput, readRecipe, run } from '../../src/index.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: '../shared/data/models/stories260K' },
    data: { type: 'string', default: '../shared/data/demo' },
    out: { type: 'string', default: 'runs/stories' },
    rows: { type: 'string', default: '300' },
    'eval-rows': { type: 'string', default: '100' },
  },
});
const here = new URL('.', import.meta.url).pathname;
const shownPrompts = 2;

interface Row {
  name: string;
  metrics: Readonly<Record<string, number>>;
  steps: number;
  seconds: number;
  answers: readonly Answer[];
}

async function trained(
  name: string,
  recipe: Recipe,
  changes: Partial<RecipeInput>,
): Promise<Row & { final: string; before: Row }> {
  const began = performance.now();
  const shown: (readonly Answer[])[] = [];
  let before: Readonly<Record<string, number>> = {};
  const result = await run(
    {
      ...recipe,
      data: {
        ...recipe.data,
        train: join(values.data, 'tinystories_train.jsonl'),
        eval: join(values.data, 'tinystories_dev.jsonl'),
        limit: Number(values.rows),
        eval_limit: Number(values['eval-rows']),
      },
      ...changes,
      output: join(values.out, name.replaceAll(/[^\w]+/g, '-').toLowerCase()),
    },
    {
      overwrite: true,
      onMetrics: (record) => {
        if (record.step === 0) before = { ...before, ...record };
      },
      onSamples: (_, answers) => shown.push(answers),
      log: { info: () => {}, warn: (message) => process.stderr.write(`${name}: ${message}\n`) },
    },
  );
  const seconds = (performance.now() - began) / 1000;
  process.stderr.write(
    `${name}: ${result.steps} steps, ${seconds.toFixed(0)} s, held-out loss ${result.metrics['eval/loss']?.toFixed(4)}\n`,
  );
  const first = { name: 'start', metrics: before, steps: 0, seconds: 0, answers: shown[0] ?? [] };
  return {
    name,
    metrics: result.metrics,
    steps: result.steps,
    seconds,
    answers: shown.at(-1) ?? [],
    final: result.final,
    before: first,
  };
}

const sft = await readRecipe(join(here, 'sft.yaml'));
const spin = await readRecipe(join(here, 'spin.yaml'));
const irft = await readRecipe(join(here, 'irft.yaml'));

// One epoch of SFT teaches the model to end a story; everything else starts there.
const start = await trained('sft, 1 epoch', sft, { model: values.model });
const from = { model: start.final };
const twice = { ...irft.train, epochs: 2 };
const further = await trained('SFT, 2 more epochs', sft, { ...from, train: { ...sft.train, epochs: 2 } });
// The gap is against what the start wrote, from there on.
const { 'eval/logp_gap': startGap = Number.NaN } = further.before.metrics;
const { 'eval/logp_gap': _, ...base } = start.before.metrics;
const rows: Row[] = [
  { ...start.before, metrics: base, name: 'base' },
  { ...start, metrics: { ...start.metrics, 'eval/logp_gap': startGap }, name: 'SFT, 1 epoch (start of the rest)' },
  further,
  await trained('SPIN, 2 iterations', spin, { ...from, spin: { ...spin.spin, iterations: 2, mix_previous: 0 } }),
];
for (const rounds of [1, 2, 5])
  rows.push(await trained(`IRFT, T = ${rounds}`, irft, { ...from, train: twice, irft: { ...irft.irft, rounds } }));
rows.push(
  await trained('IRFT, T = 2, no NLL', irft, {
    ...from,
    train: twice,
    irft: { ...irft.irft, rounds: 2, nll_weight: 0 },
  }),
);

const columns = [
  ['held-out NLL', 'eval/loss', 4],
  ['log-prob gap', 'eval/logp_gap', 1],
  ['distinct-2', 'eval/distinct_2', 3],
  ['end by EOS', 'eval/eos_rate', 2],
  ['tokens an answer', 'eval/response_tokens', 0],
] as const;
const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
const table = [
  line(['', 'steps', ...columns.map(([name]) => name), 'seconds']),
  line(['---', '---:', ...columns.map(() => '---:'), '---:']),
  ...rows.map(({ name, metrics, steps, seconds }) =>
    line([
      name,
      `${steps}`,
      ...columns.map(([, key, digits]) => metrics[key]?.toFixed(digits) ?? ''),
      seconds.toFixed(0),
    ]),
  ),
];
const samples = rows
  .filter(({ name }) => !name.includes('no NLL'))
  .flatMap(({ name, answers }) => [
    `**${name}**`,
    '',
    ...answers
      .slice(0, shownPrompts)
      .map(({ prompt, response }) => `> *${clean(prompt)}* ${clean(response).slice(0, 400)}\n`),
  ]);

function clean(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}

const report = [...table, '', ...samples].join('\n');
await writeFile(join(values.out, 'results.md'), `${report}\n`);
process.stdout.write(`${report}\n`);
