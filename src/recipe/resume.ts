// Going on with a run that was ended: which checkpoint it goes on from, and whether recipe, data and model are those that it began with.

import { readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GleanerError } from '../common/errors.js';
import type { Log } from '../common/log.js';
import { onDisk } from '../common/on_disk.js';
import { type Engine, engineInfo } from '../engine/engine.js';
import { isFile } from '../models/config.js';
import { type CheckpointFolder, Checkpoints } from '../output/checkpoint.js';
import { type RunFolder, writeWhole } from '../output/folder.js';
import { readRecipe } from './read.js';
import { parseState, type SavedState } from './saved_state.js';
import type { Recipe } from './schema.js';

export interface ResumePoint {
  folder: CheckpointFolder;
  state: SavedState;
}

/** Keys that may be others after a resume: they change how a run is carried out, not what it computes. */
const FREE = ['name', 'output', 'threads', 'memory_limit_bytes', 'backend', 'log', 'checkpoint'];
/** Keys that change what is computed from here on, for a run that went astray. It is said. */
const STEERING = ['train.optimizer.learning_rate', 'train.max_grad_norm'];

/** The newest checkpoint that can be read; undefined: the run begins anew. */
export async function findResumePoint(folder: RunFolder, log: Log): Promise<ResumePoint | undefined> {
  const checkpoints = new Checkpoints(folder.checkpoints);
  await checkpoints.clean();
  const steps = await checkpoints.steps();
  for (const step of [...steps].reverse()) {
    const at = checkpoints.at(step);
    try {
      return { folder: at, state: parseState(await checkpoints.readState(step), at.state) };
    } catch (error) {
      if (!(error instanceof GleanerError)) throw error;
      log.warn(error.message);
    }
  }
  if (steps.length === 0) return undefined;
  throw new GleanerError(
    'ERR_GLEANER_DATA',
    `${folder.checkpoints}: none of its ${steps.length} checkpoints can be read`,
    'Use the version of gleaner that wrote them, or start a run in another output.',
  );
}

/** Errors: ERR_GLEANER_RECIPE where a key differs from the recipe that the folder's run began with. */
export async function checkSameRecipe(folder: RunFolder, recipe: Recipe, log: Log): Promise<void> {
  if (!(await isFile(folder.recipe))) return; // ended before it had written one
  const before = leaves(await readRecipe(folder.recipe));
  const now = leaves(recipe);
  const changed = [...new Set([...before.keys(), ...now.keys()])].filter((key) => before.get(key) !== now.get(key));
  const matters = changed.filter((key) => !FREE.some((free) => key === free || key.startsWith(`${free}.`)));
  const forbidden = matters.filter((key) => !STEERING.includes(key));
  const [first] = forbidden;
  if (first !== undefined) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `${first} is ${now.get(first)}: the run in ${folder.path} began with ${before.get(first)}`,
      `Resume with the recipe it began with (${folder.recipe}), or start a run in another output.`,
    );
  }
  for (const key of matters) log.warn(`${key} is ${now.get(key)} from here on; the run began with ${before.get(key)}`);
}

/** Errors: ERR_GLEANER_DATA, ERR_GLEANER_MODEL where the files are not those that the run began with. */
export function checkSameInputs(
  { state }: ResumePoint,
  found: { data: string; model: string },
  recipe: Recipe,
  log: Log,
): void {
  if (state.data !== found.data) {
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      `${[recipe.data.train].flat().join(', ')}: not the rows that the run in ${recipe.output} began with`,
      'Put the data back as it was, or start a run in another output.',
    );
  }
  if (state.model !== found.model) {
    throw new GleanerError(
      'ERR_GLEANER_MODEL',
      `${recipe.model}: not the weights that the run in ${recipe.output} began with`,
      'Put the model folder back as it was, or start a run in another output.',
    );
  }
  const { isa } = engineInfo();
  if (isa !== state.isa)
    log.warn(
      `the run began with ${state.isa} kernels and goes on with ${isa}: the last bits of its numbers will differ`,
    );
}

/** Every value by the path of its keys. */
function leaves(value: unknown, path: readonly string[] = []): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return new Map([[path.join('.'), JSON.stringify(value) ?? 'undefined']]);
  return new Map(Object.entries(value).flatMap(([key, inner]) => [...leaves(inner, [...path, key])]));
}

/** Puts the engine where the checkpoint was. Errors name the checkpoint's file. */
export async function restore(engine: Engine, { folder, state }: ResumePoint, keepsRound: boolean): Promise<void> {
  try {
    if (!state.weights_in_optimizer) await engine.loadWeights(folder.policy);
    await engine.loadTrainingState(folder.optimizer);
    if (keepsRound && state.run.round_start !== null) await engine.loadRoundWeights(folder.round);
  } catch (cause) {
    if (!(cause instanceof GleanerError)) throw cause;
    throw new GleanerError(cause.code, cause.message, `Remove ${folder.path} to go on from the checkpoint before it.`, {
      cause,
    });
  }
}

/** Later rounds are sampled again: their weights may become others than those that wrote what is there. */
export async function dropLaterRounds(folder: RunFolder, point: ResumePoint | undefined): Promise<void> {
  const last = point?.state.run.round ?? 0;
  await onDisk(folder.path, async () => {
    for (const round of await folder.rounds())
      if (round > last) await rm(dirname(folder.generations(round)), { recursive: true, force: true });
  });
}

/** Warnings of steps that are done again are said again. */
export async function dropLaterWarnings(folder: RunFolder, point: ResumePoint | undefined): Promise<void> {
  const text = await readFile(folder.warnings, 'utf8').catch(() => undefined);
  if (text === undefined) return;
  const reached = point?.state.run.step ?? 0;
  const kept = text.split('\n').filter((line) => {
    const step = /^\{"step":(\d+)/.exec(line)?.[1];
    return step !== undefined && Number(step) < reached;
  });
  await writeWhole(folder.warnings, kept.map((line) => `${line}\n`).join(''));
}
