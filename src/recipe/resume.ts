// Going on with a run that was ended: which checkpoint it goes on from, and whether recipe, data and model are those that it began with.

import { stat } from 'node:fs/promises';
import { GleanerError } from '../common/errors.js';
import type { Log } from '../common/log.js';
import { engineInfo } from '../engine/engine.js';
import { type CheckpointFolder, Checkpoints } from '../output/checkpoint.js';
import type { RunFolder } from '../output/folder.js';
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
  for (const step of (await checkpoints.steps()).reverse()) {
    const at = checkpoints.at(step);
    try {
      return { folder: at, state: parseState(await checkpoints.readState(step), at.state) };
    } catch (error) {
      if (!(error instanceof GleanerError)) throw error;
      log.warn(`${error.message}; the checkpoint before it is taken`);
    }
  }
  return undefined;
}

/** Errors: ERR_GLEANER_RECIPE where a key differs from the recipe that the folder's run began with. */
export async function checkSameRecipe(folder: RunFolder, recipe: Recipe, log: Log): Promise<void> {
  const exists = await stat(folder.recipe).then(
    () => true,
    () => false,
  );
  if (!exists) return; // ended before it had written one
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
