// gleaner train: runs a recipe, or prints its plan.

import { Command } from 'commander';
import { GleanerError, messageOf } from '../common/errors.js';
import type { Metrics } from '../methods/method.js';
import { RunFolder } from '../output/folder.js';
import { dryRun } from '../recipe/dry_run.js';
import type { RunPlan } from '../recipe/plan.js';
import { readRecipe, recipeText } from '../recipe/read.js';
import { run } from '../recipe/run.js';
import type { Answer, RunResult } from '../recipe/run_options.js';
import type { Recipe } from '../recipe/schema.js';
import { describePlan, oneLine } from './plan_text.js';
import { list, Progress, print, printJson, say, table } from './terminal.js';

interface Arguments {
  set: string[];
  dryRun?: true;
  overwrite?: true;
  resume?: true;
  json?: true;
}

const HELP = `
Examples:
  gleaner train examples/stories/irft.yaml --set train.max_steps=100 --set output=runs/short
  gleaner train examples/stories/irft.yaml --resume

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
    .option('--resume', 'go on with the run that the output folder holds, bit by bit as if it had never ended')
    .option('--overwrite', 'replace the run that the output folder holds')
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', HELP)
    .action(async (path: string, options: Arguments) => {
      if (options.resume && options.overwrite)
        throw new GleanerError('ERR_GLEANER_USAGE', '--resume and --overwrite were both given', 'Give one of the two.');
      const recipe = await readRecipe(path, options.set);
      if (options.dryRun) await showPlan(recipe, options.json ?? false);
      else await train(path, recipe, options, signal);
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

async function train(path: string, recipe: Recipe, options: Arguments, signal: AbortSignal): Promise<void> {
  const progress = new Progress();
  const shown = new TrainingDisplay(progress);
  let result: RunResult;
  try {
    const { overwrite, resume } = options;
    result = await run(recipe, {
      signal,
      overwrite,
      resume,
      log: progress.log,
      onPlan: (plan) => {
        shown.plan = plan;
        say(oneLine(recipe, plan));
      },
      onSampling: ({ done, total, tokens }) => progress.update('generation', done, total, `${tokens} tokens`),
      onMetrics: (record) => shown.metrics(record),
      onSamples: (step, answers) => shown.samples(step, answers),
    });
  } catch (error) {
    progress.stop();
    if (error instanceof Error && 'output' in error && typeof error.output === 'string') {
      await report(error.output, 'interrupted', progress);
      Object.assign(error, { next: `go on with: ${resumeCommand(path, options)}` });
    }
    throw error;
  } finally {
    progress.stop();
  }
  const page = await report(result.output, undefined, progress);
  if (options.json) {
    const { output, final, steps, metrics } = result;
    printJson({ output, final, report: page, steps, metrics });
    return;
  }
  print(summary(recipe, result, page, shown.before));
}

/** The page of the run; a run that is done does not fail for the want of it. */
async function report(
  output: string,
  state: 'interrupted' | undefined,
  progress: Progress,
): Promise<string | undefined> {
  const { report: page } = new RunFolder(output);
  try {
    const { writeReport } = await import('../report/report.js');
    await writeReport([output], page, { state });
    return page;
  } catch (error) {
    progress.log.warn(`no report was written: ${messageOf(error)}`);
    return undefined;
  }
}

function resumeCommand(path: string, { set }: Arguments): string {
  return ['gleaner', 'train', path, ...set.flatMap((change) => ['--set', change]), '--resume'].map(quoted).join(' ');
}

/** As a shell takes it. */
function quoted(word: string): string {
  return /^[\w./:=@,+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** What a person sees while a run goes on. */
class TrainingDisplay {
  plan: RunPlan | undefined;
  /** The first value of each metric of the evaluation. */
  readonly before = new Map<string, number>();

  constructor(private readonly progress: Progress) {}

  metrics(record: Metrics): void {
    if ('loss' in record) this.#step(record);
    const held = record['eval/loss'];
    if (held !== undefined) {
      const gap = record['eval/logp_gap'];
      this.progress.log.info(
        `step ${record.step}: held-out loss ${fixed(held)}${gap === undefined ? '' : `, logp gap ${fixed(gap)}`}`,
      );
    }
    for (const [key, value] of Object.entries(record))
      if (key.startsWith('eval/') && !this.before.has(key)) this.before.set(key, value);
  }

  #step(record: Metrics): void {
    const { rounds, steps } = this.plan ?? {};
    const margin = record['rewards/margins'];
    const detail = [
      ...(rounds && rounds.length > 1 ? [`round ${(record.round ?? 0) + 1}/${rounds.length}`] : []),
      `loss ${fixed(record.loss)}`,
      ...(margin === undefined ? [] : [`margin ${fixed(margin)}`]),
      `${Math.round(record.tokens_per_second ?? 0)} tokens/s`,
    ];
    this.progress.update('training', record.step, steps ?? Number.POSITIVE_INFINITY, detail.join('  '));
  }

  /** One answer to read, so that a person sees what the numbers mean. */
  samples(step: number, [answer]: readonly Answer[]): void {
    if (!answer || answer.prompt + answer.response === '') return; // a model without a tokenizer has no texts
    const clip = (text: string, length: number) => (text.length > length ? `${text.slice(0, length)}…` : text);
    this.progress.log.info(
      `sample after step ${step}: ${JSON.stringify(clip(answer.prompt, 60))} → ${JSON.stringify(clip(answer.response, 160))}`,
    );
  }
}

function summary(
  recipe: Recipe,
  result: RunResult,
  page: string | undefined,
  before: ReadonlyMap<string, number>,
): string {
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
  const [held] = [recipe.data.eval ?? []].flat();
  parts.push(
    list([
      ['steps', `${result.steps}`],
      ['loss', fixed(result.metrics.loss)],
      ['metrics', `${result.output}/metrics.jsonl`],
      ['model', result.final],
      ...(page === undefined ? [] : [['report', page] satisfies [string, string]]),
    ]),
    [
      'next:',
      `  gleaner generate --model ${quoted(result.final)} --prompt "…"`,
      ...(held === undefined ? [] : [`  gleaner score --model ${quoted(result.final)} --data ${quoted(held)}`]),
      `  gleaner report ${quoted(result.output)} OTHER-RUN    compares two`,
    ].join('\n'),
  );
  return parts.join('\n\n');
}

function fixed(value: number | undefined): string {
  if (value === undefined) return '';
  return Math.abs(value) >= 1000 ? value.toFixed(1) : value.toFixed(4);
}
