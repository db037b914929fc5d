// What a recipe would do, without loading weights. A config.json is enough: where tokenizer or data are not there, the plan stands on the
// recipe's limits, and says so.

import { stat } from 'node:fs/promises';
import { GleanerError } from '../common/errors.js';
import { type Log, silent } from '../common/log.js';
import { holdsRun } from '../output/folder.js';
import { planRun, type RunPlan, sizesOf, sizesWithoutData } from './plan.js';
import { type PreparedData, type PreparedModel, prepareData, prepareModel } from './prepare.js';
import { checkRecipe } from './read.js';
import type { Recipe, RecipeInput } from './schema.js';

/** A recipe with every default, and what it would do. */
export interface DryRun {
  recipe: Recipe;
  plan: RunPlan;
}

/** Rounds, steps, tokens and memory of a recipe, without its weights. Errors: ERR_GLEANER_RECIPE, _MODEL, _DATA. */
export async function dryRun(input: RecipeInput | Recipe, log: Log = silent): Promise<DryRun> {
  const recipe = checkRecipe(input);
  if (await holdsRun(recipe.output)) log.warn(`${recipe.output} holds a run already: pass --resume or --overwrite`);
  const model = await prepareModel(recipe);
  const missing = await missingFiles(recipe);
  if (missing.length > 0) log.warn(`${missing.join(', ')}: not there`);
  const data = missing.length > 0 ? undefined : await readable(recipe, model, log);
  if (data) {
    await using _files = { [Symbol.asyncDispose]: () => data.close() };
    return { recipe, plan: planRun(recipe, model.description, sizesOf(recipe, data.rows, data.held_out)) };
  }
  log.warn('the plan stands on data.limit and data.max_length');
  if (recipe.data.limit === null) log.warn('without data.limit the number of steps is unknown');
  return { recipe, plan: planRun(recipe, model.description, sizesWithoutData(recipe)) };
}

/** Rows of text without a tokenizer cannot be counted in tokens; everything else that is wrong with them is an error here too. */
async function readable(recipe: Recipe, model: PreparedModel, log: Log): Promise<PreparedData | undefined> {
  try {
    return await prepareData(recipe, model, log);
  } catch (error) {
    if (model.tokenizer || !(error instanceof GleanerError)) throw error;
    log.warn(error.message);
    return undefined;
  }
}

async function missingFiles({ data }: Recipe): Promise<string[]> {
  const paths = [data.train, data.eval ?? []].flat();
  const found = await Promise.all(
    paths.map((path) =>
      stat(path).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
          throw new GleanerError('ERR_GLEANER_DATA', `${path}: ${error.message}`);
        },
      ),
    ),
  );
  return paths.filter((_, place) => !found[place]);
}
