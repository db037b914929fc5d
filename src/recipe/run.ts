// A recipe, run: data and model come in, a Context is built and handed to the method, what the method reports goes to the run's folder.

import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Log, silent } from '../common/log.js';
import { Engine } from '../engine/engine.js';
import { abortError } from '../engine/native_error.js';
import type { Context, Generation, Metrics, RunOutput } from '../methods/method.js';
import { checkInputsSurvive, checkRunFolder, openRunFolder, type RunFolder, writeWhole } from '../output/folder.js';
import { writeGenerations } from '../output/generations.js';
import { MetricsFile } from '../output/metrics.js';
import { monitored, type SamplingProgress } from './monitored.js';
import { chosenMethod, planRun, type RunPlan, requireFit, sizesOf } from './plan.js';
import { type PreparedModel, prepareData, prepareModel } from './prepare.js';
import { checkRecipe, recipeText } from './read.js';
import type { Recipe, RecipeInput } from './schema.js';

/** A prompt and an answer as text, for a reward of the caller's. */
export interface Answer {
  id: string;
  prompt: string;
  response: string;
}

export interface RunOptions {
  /** Every record of metrics.jsonl, as it is written. */
  onMetrics?: ((record: Metrics) => void) | undefined;
  /** Rewards of answers to held-out prompts, reported as eval/reward. */
  reward?: ((answers: readonly Answer[]) => readonly number[] | Promise<readonly number[]>) | undefined;
  /** Answers to held-out prompts, at the start, after each round and at the end. */
  onSamples?: ((step: number, answers: readonly Answer[]) => void) | undefined;
  onPlan?: ((plan: RunPlan) => void) | undefined;
  onSampling?: ((progress: SamplingProgress) => void) | undefined;
  log?: Log | undefined;
  signal?: AbortSignal | undefined;
  /** Replaces a run that the output folder holds. */
  overwrite?: boolean | undefined;
}

export interface RunResult {
  output: string;
  /** The trained model, a Hugging Face folder. */
  final: string;
  steps: number;
  plan: RunPlan;
  /** Of the last step, and of the last evaluation. */
  metrics: Readonly<Record<string, number>>;
}

const dtypes = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;

/** What the error of a run that was aborted or failed carries: where the policy was saved, if a step had been done. */
export interface Interruption {
  checkpoint: string | undefined;
}

/**
 * Runs a recipe to its end. Errors: GleanerError with a code; an abort is Node's AbortError. Where steps had been done, the error's
 * `checkpoint` (Interruption) names the folder in which the policy was saved.
 */
export async function run(input: RecipeInput | Recipe, options: RunOptions = {}): Promise<RunResult> {
  const recipe = checkRecipe(input);
  const log = options.log ?? silent;
  const overwrite = options.overwrite ?? false;
  await checkRunFolder(recipe.output, { overwrite }); // before the long work
  if (overwrite) await checkInputsSurvive(recipe.output, inputsOf(recipe));
  const model = await prepareModel(recipe);
  const data = await prepareData(recipe, model, log);
  const plan = planRun(recipe, model.description, sizesOf(recipe, data.rows, data.held_out));
  requireFit(plan);
  options.onPlan?.(plan);
  if (options.signal?.aborted) throw abortError(options.signal.reason);

  await using engine = await Engine.load(recipe.model, {
    threads: plan.threads,
    backend: recipe.backend,
    memory_limit_bytes: plan.memory_limit_bytes,
    init: recipe.init,
    seed: recipe.seed,
  });
  const { optimizer } = recipe.train;
  await engine.prepareTraining({
    optimizer,
    activations: plan.activations,
    micro_batch_tokens: plan.micro_batch_tokens,
    max_length: plan.data.longest_sequence,
  });

  const folder = await openRunFolder(recipe.output, { overwrite });
  await writeWhole(folder.recipe, recipeText(recipe));
  await writeWhole(folder.plan, `${JSON.stringify(plan, null, 2)}\n`);
  await using metrics = await MetricsFile.create(folder.metrics);
  const output = new Output(recipe, folder, metrics, engine, model, options);
  const { reward } = options;
  const context: Context = {
    engine: monitored(engine, { batch_size: plan.generation?.batch_size, onSampling: options.onSampling }),
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
    output,
    now: () => performance.now() / 1000,
    peakBytes: async () => (await engine.memory()).peak_bytes,
    log,
    signal: options.signal,
  };
  try {
    await chosenMethod(recipe).run(context);
  } catch (error) {
    const aborted = options.signal?.aborted ?? false;
    const save = async () => (output.step > 0 ? await output.saveCheckpoint() : undefined);
    // After a failure the failure is what matters, should the policy not be savable either.
    const interruption: Interruption = { checkpoint: await (aborted ? save() : save().catch(() => undefined)) };
    throw Object.assign(aborted ? abortError(options.signal?.reason) : asError(error), interruption);
  }
  await engine.save(folder.final, { dtype: dtypes[recipe.checkpoint.dtype], files: model.files });
  return { output: folder.path, final: folder.final, steps: output.step, plan, metrics: output.latest };
}

function inputsOf({ model, tokenizer, data }: Recipe): string[] {
  return [model, tokenizer ?? [], data.train, data.eval ?? []].flat();
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown), { cause: thrown });
}

function answerOf({ tokenizer }: PreparedModel, { id, prompt_ids, response_ids }: Generation): Answer {
  return {
    id,
    prompt: tokenizer?.decode(prompt_ids) ?? '',
    response: tokenizer?.decodeAfter(prompt_ids, response_ids) ?? '',
  };
}

/** Where a run's results go: its folder, and the caller's hooks. */
class Output implements RunOutput {
  step = 0;
  latest: Record<string, number> = {};
  #saved: number[] = [];

  constructor(
    private readonly recipe: Recipe,
    private readonly folder: RunFolder,
    private readonly file: MetricsFile,
    private readonly engine: Engine,
    private readonly model: PreparedModel,
    private readonly options: RunOptions,
  ) {}

  async metrics(record: Metrics): Promise<void> {
    const isStep = 'loss' in record;
    if (isStep) this.step = record.step; // done, whatever becomes of its record
    this.latest = { ...this.latest, ...record };
    if (!isStep || record.step % this.recipe.log.every === 0) {
      await this.file.append(record);
      this.options.onMetrics?.(record);
    }
    if (!isStep) return;
    const { every } = this.recipe.checkpoint;
    if (every !== null && record.step % every === 0) await this.saveCheckpoint();
  }

  async generations(round: number, rows: readonly Generation[]): Promise<void> {
    await writeGenerations(this.folder.generations(round), this.#withText(rows));
  }

  async samples(step: number, rows: readonly Generation[]): Promise<void> {
    const withText = this.#withText(rows);
    await writeGenerations(this.folder.samples(step), withText);
    this.options.onSamples?.(step, withText);
  }

  /** The policy as it is now; the oldest copies beyond checkpoint.keep are removed. */
  async saveCheckpoint(): Promise<string> {
    const path = this.folder.checkpointPolicy(this.step);
    const { dtype, keep } = this.recipe.checkpoint;
    await this.engine.save(path, { dtype: dtypes[dtype], files: this.model.files });
    this.#saved = [...this.#saved.filter((step) => step !== this.step), this.step];
    for (const old of this.#saved.splice(0, Math.max(0, this.#saved.length - keep))) {
      await rm(dirname(this.folder.checkpointPolicy(old)), { recursive: true, force: true });
    }
    return path;
  }

  #withText(rows: readonly Generation[]) {
    return rows.map((row) => ({ ...row, ...answerOf(this.model, row) }));
  }
}
