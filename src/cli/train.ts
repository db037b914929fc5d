// gleaner train: runs a recipe, or prints its plan.

import { Command } from 'commander';
import { dryRun } from '../recipe/dry_run.js';
import type { RunPlan } from '../recipe/plan.js';
import { gigabytes } from '../recipe/plan.js';
import { readRecipe, recipeText } from '../recipe/read.js';
import { type Answer, type RunResult, run } from '../recipe/run.js';
import type { Recipe } from '../recipe/schema.js';
import { list, Progress, print, printJson, say, table } from './terminal.js';

interface Arguments {
  set: string[];
  dryRun?: true;
  overwrite?: true;
  json?: true;
}

const HELP = `
Example:
  gleaner train examples/stories/irft.yaml --set train.max_steps=100 --set output=runs/short

RECIPE is YAML; docs/recipes.md lists its keys. Paths in it are relative to the folder where the command runs.`;

export function trainCommand(signal: AbortSignal): Command {
  return new Command('train')
    .description('train a model as a recipe says')
    .argument('<recipe>', 'recipe file (YAML)')
    .option(
      '--set <key=value>',
      'change a key of the recipe; may be given several times',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .option('--dry-run', 'print the plan (rows, tokens, steps, memory) and stop')
    .option('--overwrite', 'replace the run that the output folder holds')
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', HELP)
    .action(async (path: string, options: Arguments) => {
      const recipe = await readRecipe(path, options.set);
      if (options.dryRun) await showPlan(recipe, options.json ?? false);
      else await train(recipe, options, signal);
    });
}

async function showPlan(recipe: Recipe, json: boolean): Promise<void> {
  const progress = new Progress();
  const { plan } = await dryRun(recipe, progress.log);
  if (json) {
    printJson({ recipe, plan });
    return;
  }
  print(`# every key with its default\n${recipeText(recipe)}`);
  print(describePlan(plan));
  if (plan.does_not_fit)
    print(`\nThis run does not fit here: it needs ${plan.does_not_fit.needs}. ${plan.does_not_fit.advice}`);
}

async function train(recipe: Recipe, { overwrite, json }: Arguments, signal: AbortSignal): Promise<void> {
  const progress = new Progress();
  const before = new Map<string, number>();
  let steps = 0;
  let result: RunResult;
  try {
    result = await run(recipe, {
      signal,
      overwrite,
      log: progress.log,
      onPlan: (plan) => {
        steps = plan.steps ?? 0;
        say(oneLine(recipe, plan));
      },
      onSampling: ({ done, total, tokens }) => progress.update('generation', done, total, `${tokens} tokens`),
      onMetrics: (record) => {
        if ('loss' in record) {
          const margin = record['rewards/margins'];
          const detail = `loss ${fixed(record.loss)}${margin === undefined ? '' : `  margin ${fixed(margin)}`}  ${Math.round(record.tokens_per_second ?? 0)} tokens/s`;
          progress.update('training', record.step, steps, detail);
        }
        const held = record['eval/loss'];
        if (held !== undefined) {
          const gap = record['eval/logp_gap'];
          progress.log.info(
            `step ${record.step}: held-out loss ${fixed(held)}${gap === undefined ? '' : `, logp gap ${fixed(gap)}`}`,
          );
        }
        for (const [key, value] of Object.entries(record))
          if (key.startsWith('eval/') && !before.has(key)) before.set(key, value);
      },
      onSamples: (step, answers) => {
        for (const line of sampleLines(step, answers)) progress.log.info(line);
      },
    });
  } finally {
    progress.stop();
  }
  if (json) {
    printJson({ output: result.output, final: result.final, steps: result.steps, metrics: result.metrics });
    return;
  }
  print(summary(result, before));
}

function oneLine(recipe: Recipe, plan: RunPlan): string {
  const { model, steps, memory, threads, isa } = plan;
  const millions = (model.parameters / 1e6).toFixed(2);
  return `${recipe.method}: ${model.architecture}, ${millions} M parameters, ${plan.data.rows} rows, ${plan.rounds?.length} round${plan.rounds?.length === 1 ? '' : 's'}, ${steps} steps, ${gigabytes(memory.total_bytes)} planned, ${threads} threads (${isa})`;
}

/** One answer to read, so that a person sees what the numbers mean. */
function sampleLines(step: number, [answer]: readonly Answer[]): string[] {
  if (!answer) return [];
  const clip = (text: string, length: number) => (text.length > length ? `${text.slice(0, length)}…` : text);
  return [
    `sample after step ${step}: ${JSON.stringify(clip(answer.prompt, 60))} → ${JSON.stringify(clip(answer.response, 160))}`,
  ];
}

export function describePlan(plan: RunPlan): string {
  const { model, data, rounds, steps, memory } = plan;
  const unknown = 'unknown';
  const facts: [string, string][] = [
    ['model', `${model.architecture}, ${model.parameters.toLocaleString('en')} parameters`],
    [
      'rows',
      data.rows === null
        ? unknown
        : `${data.rows}${data.held_out_rows === null ? '' : `, ${data.held_out_rows} held out`}`,
    ],
    ['tokens', data.tokens === null ? unknown : data.tokens.toLocaleString('en')],
    [
      'longest',
      `${data.longest_sequence} tokens of prompt and answer, ${data.longest_tree} with both answers of a pair`,
    ],
    ['steps', steps === null ? unknown : `${steps}`],
    ['micro-batch', `${plan.micro_batch_tokens} tokens, activations: ${plan.activations}`],
    [
      'generation',
      plan.generation === null
        ? 'none'
        : `${plan.generation.batch_size} sequences of up to ${plan.generation.max_length} tokens at once`,
    ],
    ['threads', `${plan.threads} (${plan.isa})`],
  ];
  const parts = [list(facts)];
  if (rounds && rounds.length > 0) {
    parts.push(
      table(
        ['round', 'rows', 'answers sampled', 'steps'],
        rounds.map((round, place) => [`${place}`, `${round.rows}`, `${round.generations}`, `${round.steps}`]),
      ),
    );
  }
  const { total_bytes, ...purposes } = memory;
  parts.push(
    table(
      ['memory', 'bytes', ''],
      [
        ...Object.entries(purposes).map(([purpose, bytes]) => [purpose, bytes.toLocaleString('en'), gigabytes(bytes)]),
        [
          'total',
          total_bytes.toLocaleString('en'),
          `${gigabytes(total_bytes)} of ${gigabytes(plan.memory_limit_bytes)}`,
        ],
      ],
    ),
  );
  return parts.join('\n\n');
}

function summary(result: RunResult, before: ReadonlyMap<string, number>): string {
  const names = Object.keys(result.metrics).filter((key) => key.startsWith('eval/'));
  const parts: string[] = [];
  if (names.length > 0) {
    parts.push(
      table(
        ['held out', 'before', 'after'],
        names.map((key) => [key, fixed(before.get(key)), fixed(result.metrics[key])]),
      ),
    );
  }
  parts.push(
    list([
      ['steps', `${result.steps}`],
      ['loss', fixed(result.metrics.loss)],
      ['metrics', `${result.output}/metrics.jsonl`],
      ['model', result.final],
    ]),
    `next: gleaner generate --model ${result.final} --prompt "…"`,
  );
  return parts.join('\n\n');
}

function fixed(value: number | undefined): string {
  if (value === undefined) return '';
  return Math.abs(value) >= 1000 ? value.toFixed(1) : value.toFixed(4);
}
