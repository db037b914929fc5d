// Where a run's results go: its folder, its checkpoints, and the caller's hooks. Keeps the last place that the run could go on from, so that a
// run that is ended at any moment is saved as it was there.

import { appendFileSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { type Log, silent } from '../common/log.js';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';
import { version } from '../common/version.js';
import { syncFolder } from '../common/whole_file.js';
import type { Engine } from '../engine/engine.js';
import type { UpdateBatch } from '../engine/types.js';
import type { Generation, Metrics, RunOutput } from '../methods/method.js';
import { type RunState, startOfRun } from '../methods/state.js';
import { type CheckpointFolder, Checkpoints, linkOrCopy } from '../output/checkpoint.js';
import type { RunFolder } from '../output/folder.js';
import type { MetricsFile } from '../output/metrics.js';
import type { EventFile } from '../output/tensorboard.js';
import type { PreparedModel } from './prepare.js';
import type { Answer, RunOptions } from './run_options.js';
import type { SavedState } from './saved_state.js';
import type { Recipe } from './schema.js';

const dtypes = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;

export interface OutputParts {
  recipe: Recipe;
  folder: RunFolder;
  metrics: MetricsFile;
  events: EventFile | undefined;
  engine: Engine;
  model: PreparedModel;
  options: RunOptions;
  /** What every state.json says of this run. */
  standsOn: Pick<SavedState, 'data' | 'model' | 'isa' | 'micro_batch_tokens' | 'activations'>;
  /** A copy of the weights at a round's start is needed to go on. */
  keepsRound: boolean;
}

export class Output implements RunOutput {
  /** Of the last step, and of the last evaluation. */
  latest: Record<string, number> = {};
  readonly #checkpoints: Checkpoints;
  #reached: { run: RunState; metrics_bytes: number; events_bytes: number | null };
  /** The weights have moved on from what #reached says. */
  #dirty = false;
  #best: SavedState['best'];
  /** The last evaluation. */
  #measured: Metrics | undefined;
  #saved: number | undefined;
  #hookFailed: { error: unknown } | undefined;

  constructor(
    private readonly parts: OutputParts,
    from: SavedState | undefined,
  ) {
    const { folder, metrics, events } = parts;
    this.#checkpoints = new Checkpoints(folder.checkpoints);
    this.#reached = {
      run: from?.run ?? startOfRun,
      metrics_bytes: metrics.bytes,
      events_bytes: events?.bytes ?? from?.events_bytes ?? null,
    };
    const { best } = parts.recipe.checkpoint;
    const same = from?.best?.metric === best?.metric && from?.best?.goal === best?.goal;
    this.#best = same ? (from?.best ?? null) : null;
    this.#saved = from?.run.step;
  }

  get step(): number {
    return this.#reached.run.step;
  }

  /** Says what it is told, and keeps warnings for the report. */
  get log(): Log {
    const log = this.parts.options.log ?? silent;
    return {
      info: (message) => log.info(message),
      warn: (message) => {
        log.warn(message);
        try {
          appendFileSync(this.parts.folder.warnings, `${JSON.stringify({ step: this.step, message })}\n`);
        } catch {
          // It was said; a disk that is full is told by the files that matter.
        }
      },
    };
  }

  /** The engine's weights were changed by a step. */
  weightsMoved(): void {
    this.#dirty = true;
  }

  async metrics(record: Metrics): Promise<void> {
    if ('eval/loss' in record) this.#measured = record;
    this.latest = { ...this.latest, ...record };
    if ('loss' in record && record.step % this.parts.recipe.log.every !== 0) return;
    await this.parts.metrics.append(record);
    await this.parts.events?.append(record);
    try {
      this.parts.options.onMetrics?.(record);
    } catch (error) {
      this.#hookFailed ??= { error }; // told once the step is kept
    }
  }

  async reached(run: RunState): Promise<void> {
    const { metrics, events, recipe } = this.parts;
    // An event file that is not written now keeps its place.
    const events_bytes = events?.bytes ?? this.#reached.events_bytes;
    this.#reached = { run, metrics_bytes: metrics.bytes, events_bytes };
    this.#dirty = false;
    const better = this.#isBest(run);
    if (better !== undefined) this.#best = better;
    const { every } = recipe.checkpoint;
    const atEdge = run.round_start === null && run.round > 0;
    const due = every !== null && run.step > 0 && (run.step % every === 0 || atEdge);
    if ((due || better !== undefined) && this.#saved !== run.step) await this.#save();
    if (this.#hookFailed) throw this.#hookFailed.error;
  }

  /** Of checkpoint.best, just measured. */
  #isBest(run: RunState): SavedState['best'] | undefined {
    const { best } = this.parts.recipe.checkpoint;
    if (best === null || run.step === 0 || run.evaluated_at !== run.step || this.#best?.step === run.step)
      return undefined;
    const value = this.#measured?.step === run.step ? this.#measured[best.metric] : undefined;
    if (value === undefined || !Number.isFinite(value)) return undefined;
    const better = this.#best === null || (best.goal === 'min' ? value < this.#best.value : value > this.#best.value);
    return better ? { ...best, step: run.step, value } : undefined;
  }

  async samples(step: number, rows: readonly Generation[]): Promise<void> {
    const withText = rows.map((row) => this.withText(row));
    const { writeGenerations } = await import('../output/generations.js');
    await writeGenerations(this.parts.folder.samples(step), withText);
    this.parts.options.onSamples?.(step, withText);
  }

  /** As rows of ids, which `gleaner data inspect` shows and `gleaner score` scores. */
  async failedBatch(step: number, batch: UpdateBatch): Promise<void> {
    const path = this.parts.folder.failedBatch(step);
    const rows =
      'pairs' in batch
        ? batch.pairs.map(({ real_ids, generated_ids, ...pair }) => ({
            ...pair,
            response_ids: [...real_ids],
            generated_ids: [...generated_ids],
          }))
        : batch.rows.map(({ response_ids, ...row }) => ({ ...row, response_ids: [...response_ids] }));
    const lines = rows.map((row) => JSON.stringify({ ...row, prompt_ids: [...row.prompt_ids] }));
    await onDisk(path, async () => {
      await makeFolder(dirname(path));
      await writeFile(path, `${lines.join('\n')}\n`);
    });
    this.log.warn(`the batch of step ${step} is in ${path}`);
  }

  withText(row: Generation): Generation & { prompt: string; response: string; demonstration: string } {
    return { ...row, ...answerOf(this.parts.model, row), demonstration: this.#demonstration(row) };
  }

  #demonstration({ prompt_ids, demonstration_ids }: Generation): string {
    return this.parts.model.tokenizer?.decodeAfter(prompt_ids, demonstration_ids) ?? '';
  }

  /** The run is ended: what it had reached is kept, unless a checkpoint of it is there. The policy's folder; undefined: there is nothing to keep. */
  async saveReached(): Promise<string | undefined> {
    if (this.step === 0) return undefined;
    if (this.#saved !== this.step) {
      if (this.#dirty) return undefined; // neither this step nor the one before it is whole
      await this.#save();
    }
    return this.#checkpoints.at(this.step).policy;
  }

  async #save(): Promise<void> {
    const { recipe, standsOn, metrics } = this.parts;
    const { run } = this.#reached;
    const narrow = recipe.checkpoint.dtype !== 'float32';
    const state: SavedState = {
      format: 1,
      gleaner: version(),
      ...this.#reached,
      run: { ...run, baseline: run.baseline.map((answer) => [...answer]) },
      best: this.#best,
      weights_in_optimizer: narrow,
      ...standsOn,
    };
    await metrics.sync();
    const before =
      this.#saved === undefined || this.#saved === run.step ? undefined : this.#checkpoints.at(this.#saved);
    await this.#checkpoints.write(run.step, state, (folder) => this.#writeTensors(folder, before, narrow));
    this.#saved = run.step;
    await this.#checkpoints.prune(recipe.checkpoint.keep, this.#best ? [this.#best.step, run.step] : [run.step]);
  }

  async #writeTensors(folder: CheckpointFolder, before: CheckpointFolder | undefined, narrow: boolean): Promise<void> {
    const { engine, recipe, model, keepsRound } = this.parts;
    const { round_start } = this.#reached.run;
    const linked = before ? await filesIn(before.policy, model.files) : [];
    const copied = model.files.filter((file) => !linked.includes(file));
    await engine.save(folder.policy, { dtype: dtypes[recipe.checkpoint.dtype], files: copied });
    if (before) {
      await onDisk(folder.policy, async () => {
        for (const file of linked)
          await linkOrCopy(`${before.policy}/${basename(file)}`, `${folder.policy}/${basename(file)}`);
        await syncFolder(folder.policy);
      });
    }
    await engine.saveTrainingState(folder.optimizer, { weights: narrow });
    if (!keepsRound || round_start === null) return;
    const sameRound = before && (this.#saved ?? 0) > round_start.step && (await filesIn(before.path, [before.round]));
    if (sameRound && sameRound.length > 0) await onDisk(folder.round, () => linkOrCopy(before.round, folder.round));
    else await engine.saveRoundWeights(folder.round);
  }

  async saveFinal(): Promise<void> {
    const { engine, recipe, model, folder } = this.parts;
    await engine.save(folder.final, { dtype: dtypes[recipe.checkpoint.dtype], files: model.files });
  }
}

export function answerOf(
  { tokenizer }: PreparedModel,
  { id, prompt_ids, response_ids }: Pick<Generation, 'id' | 'prompt_ids' | 'response_ids'>,
): Answer {
  return {
    id,
    prompt: tokenizer?.decode(prompt_ids) ?? '',
    response: tokenizer?.decodeAfter(prompt_ids, response_ids) ?? '',
  };
}

/** Those of `files` whose names are in the folder. */
async function filesIn(folder: string, files: readonly string[]): Promise<string[]> {
  const names = new Set(await readdir(folder).catch(() => []));
  return files.filter((file) => names.has(basename(file)));
}
