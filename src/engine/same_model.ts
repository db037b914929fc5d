// A folder whose weights are to take the place of a loaded model's: everything that is computed with them must be the same.

import { isDeepStrictEqual } from 'node:util';
import { modelError, show } from '../models/json.js';
import type { ModelDescription } from '../models/spec.js';

/** Throws ERR_GLEANER_MODEL with the first of the model's numbers that differs. */
export function checkSameModel(folder: string, found: ModelDescription, loaded: ModelDescription): void {
  const differs = (what: string, here: unknown, there: unknown) =>
    modelError(
      `${folder}: ${what} is ${show(here)}, of the loaded model ${show(there)}`,
      'Use a folder of that model.',
    );
  if (found.architecture !== loaded.architecture)
    throw differs('the architecture', found.architecture, loaded.architecture);
  for (const [key, value] of Object.entries(loaded.spec)) {
    const here: unknown = Reflect.get(found.spec, key);
    if (!isDeepStrictEqual(here, value)) throw differs(key, here, value);
  }
}
