// A recipe, run: data and model come in, a Context is built and handed to the method, what the method reports goes to the run's folder.

import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { type Log, silent } from '../common/log.js';
import { version } from '../common/version.js';
import { Engine, engineInfo } from '../engine/engine.js';
import { abortError } from '../engine/native_error.js';
import type { Context } from '../methods/method.js';
import {
  checkInputsSurvive,
  checkRunFolder,
  emptyRunFolder,
  findEvents,
  holdsRun,
  makeRunFolder,
  RunFolder,
  writeWhole,
} from '../output/folder.js';
import { Lock } from '../output/lock.js';
import { MetricsFile, readMetrics } from '../output/metrics.js';
import { EventFile } from '../output/tensorboard.js';
import { modelFingerprint } from './fingerprint.js';
import { monitored } from './monitored.js';
import { chosenMethod, planRun, type RunPlan, requireFit, sizesOf } from './plan.js';
import { type PreparedData, type PreparedModel, prepareData, prepareModel } from './prepare.js';
import { checkRecipe, recipeText } from './read.js';
import {
  checkSameInputs,
  checkSameRecipe,
  dropLaterRounds,
  dropLaterWarnings,
  findResumePoint,
  type ResumePoint,
  restore,
} from './resume.js';
import type { Interruption, RunOptions, RunResult } from './run_options.js';
import { answerOf, Output } from './run_output.js';
import { RunRounds } from './run_rounds.js';
import type { Recipe, RecipeInput } from './schema.js';

/**
 * Runs a recipe to its end. Errors: GleanerError with a code; an abort is Node's AbortError. Where steps had been done, the error's
 * `checkpoint` (Interruption) names the folder in which the policy was saved.
 */
export async function run(input: RecipeInput | Recipe, options: RunOptions = {}): Promise<RunResult> {
  const recipe = checkRecipe(input);
  const log = options.log ?? silent;
  const resumes = (options.resume ?? false) && (await holdsRun(recipe.output));
  await using _held = resumes ? await Lock.take(new RunFolder(recipe.output).lock) : undefined;
  const point = await whereToBegin(recipe, options, resumes, log);

  const model = await prepareModel(recipe);
  const data = await prepareData(recipe, model, log);
  await using _files = { [Symbol.asyncDispose]: () => data.close() };
  const fingerprints = { data: dataFingerprint(data, model), model: await modelFingerprint(recipe.model, recipe.init) };
  if (point) checkSameInputs(point, fingerprints, recipe, log);
  const plan = planRun(withSizesOf(recipe, point), model.description, sizesOf(recipe, data.rows, data.held_out));
  requireFit(plan);
  options.onPlan?.(plan);
  if (options.signal?.aborted) throw abortError(options.signal.reason);
  if (resumes && (await isFolder(new RunFolder(recipe.output).final))) return finished(recipe, plan, log);

  await using engine = await Engine.load(recipe.model, {
    threads: plan.threads,
    backend: recipe.backend,
    memory_limit_bytes: plan.memory_limit_bytes,
    init: recipe.init,
    seed: recipe.seed,
  });
  await engine.prepareTraining({
    optimizer: recipe.train.optimizer,
    activations: plan.activations,
    micro_batch_tokens: plan.micro_batch_tokens,
    max_length: plan.data.longest_sequence,
  });
  const { keeps_round: keepsRound } = chosenMethod(recipe);
  if (point) await restore(engine, point, keepsRound);

  // Nothing is removed before the folder is ours, nor if a run has begun there meanwhile.
  const folder = await makeRunFolder(recipe.output);
  await using _lock = resumes ? undefined : await Lock.take(folder.lock);
  if (resumes) {
    await dropLaterRounds(folder, point);
    await dropLaterWarnings(folder, point);
  } else {
    await checkRunFolder(recipe.output, { overwrite: options.overwrite ?? false });
    await emptyRunFolder(folder);
  }
  await writeWhole(folder.recipe, recipeText(recipe));
  await writeWhole(folder.plan, `${JSON.stringify(plan, null, 2)}\n`);
  const started = Date.now() / 1000;
  await writeWhole(folder.environment, `${JSON.stringify(environment(plan, recipe, started), null, 2)}\n`);
  await using metrics = await MetricsFile.open(folder.metrics, point?.state.metrics_bytes);
  await using events = recipe.log.tensorboard ? await openEvents(folder, started, point) : undefined;
  const { isa, micro_batch_tokens, activations } = plan;
  const standsOn = { ...fingerprints, isa, micro_batch_tokens, activations };
  const output = new Output(
    { recipe, folder, metrics, events, engine, model, options, standsOn, keepsRound },
    point?.state,
  );
  const key = createHash('sha256')
    .update(JSON.stringify([keyOf(recipe), standsOn, version()]))
    .digest('hex');
  await using rounds = new RunRounds(
    async () => new (await import('../output/round_store.js')).RoundFiles(folder, key),
    output,
  );
  const { reward } = options;
  const context: Context = {
    engine: monitored(engine, {
      batch_size: plan.generation?.batch_size,
      onSampling: options.onSampling,
      place: () => rounds.sampling,
      onMoved: () => output.weightsMoved(),
    }),
    rows: data.rows,
    held_out: data.held_out,
    train: recipe.train,
    generation: recipe.generation,
    evaluation: recipe.evaluation,
    shuffle: recipe.data.shuffle,
    seed: recipe.seed,
    eos_token_ids: model.eos_token_ids,
    max_positions: model.description.spec.max_positions,
    fitPair: data.fitPair,
    reward: reward && (async (generations) => reward(generations.map((row) => answerOf(model, row)))),
    state: point?.state.run,
    rounds,
    output,
    now: () => performance.now() / 1000,
    peakBytes: async () => (await engine.memory()).peak_bytes,
    log: output.log,
    signal: options.signal,
  };
  try {
    await chosenMethod(recipe).run(context);
    await output.saveFinal();
  } catch (error) {
    const aborted = options.signal?.aborted ?? false;
    // After a failure the failure is what matters, should the state not be savable either.
    let thrown = aborted ? abortError(options.signal?.reason) : asError(error);
    const checkpoint = await output.saveReached().catch((failure: unknown) => {
      if (aborted) thrown = asError(failure);
      return undefined;
    });
    const interruption: Interruption = { checkpoint, output: folder.path };
    throw Object.assign(thrown, interruption);
  }
  return { output: folder.path, final: folder.final, steps: output.step, plan, metrics: output.latest };
}

/** Looks at what the output folder holds, before the long work. undefined: the run begins at its first step. */
async function whereToBegin(
  recipe: Recipe,
  options: RunOptions,
  resumes: boolean,
  log: Log,
): Promise<ResumePoint | undefined> {
  const overwrite = options.overwrite ?? false;
  if (!resumes) {
    await checkRunFolder(recipe.output, { overwrite });
    if (overwrite) await checkInputsSurvive(recipe.output, inputsOf(recipe));
    if (options.resume) log.info(`${recipe.output} holds no run: it begins`);
    return undefined;
  }
  const folder = new RunFolder(recipe.output);
  await checkSameRecipe(folder, recipe, log);
  const point = await findResumePoint(folder, log);
  log.info(
    point
      ? `going on with the run in ${recipe.output} after step ${point.state.run.step}`
      : `the run in ${recipe.output} has no checkpoint: it begins again at its first step`,
  );
  return point;
}

/** Sums keep their last bits only in micro-batches of the same size. */
function withSizesOf(recipe: Recipe, point: ResumePoint | undefined): Recipe {
  if (!point) return recipe;
  const { micro_batch_tokens, activations } = point.state;
  return { ...recipe, train: { ...recipe.train, micro_batch_tokens, activations } };
}

/** Of all that a run computes with besides the weights: rows, held-out rows, what ends an answer. */
function dataFingerprint({ rows, held_out }: PreparedData, { eos_token_ids }: PreparedModel): string {
  const held = held_out.map(({ id, prompt_ids, response_ids }) => [id, [...prompt_ids], [...response_ids]]);
  return createHash('sha256')
    .update(JSON.stringify([rows.fingerprint, held, eos_token_ids]))
    .digest('hex');
}

async function openEvents(folder: RunFolder, started: number, point: ResumePoint | undefined): Promise<EventFile> {
  const found = await findEvents(folder.path);
  return EventFile.open(found ?? folder.events(started), { bytes: found ? (point?.state.events_bytes ?? 0) : 0 });
}

/** A run that had come to its end already. */
async function finished(recipe: Recipe, plan: RunPlan, log: Log): Promise<RunResult> {
  const folder = new RunFolder(recipe.output);
  log.info(`the run in ${recipe.output} is finished`);
  const metrics: Record<string, number> = {};
  for (const record of await readMetrics(folder.metrics)) Object.assign(metrics, record);
  return { output: folder.path, final: folder.final, steps: metrics.step ?? 0, plan, metrics };
}

/** What answers of a round depend on. */
function keyOf({ name, output, threads, memory_limit_bytes, log, checkpoint, evaluation, ...rest }: Recipe): object {
  return rest;
}

function environment(plan: RunPlan, recipe: Recipe, started: number): object {
  const { backend, isa, cpu, cores, memory_bytes } = engineInfo();
  return {
    gleaner: version(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu,
    cores,
    memory_bytes,
    isa,
    backend,
    precision: recipe.precision,
    threads: plan.threads,
    started: new Date(started * 1000).toISOString(),
  };
}

function inputsOf({ model, tokenizer, data }: Recipe): string[] {
  return [model, tokenizer ?? [], data.train, data.eval ?? []].flat();
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown });
}
