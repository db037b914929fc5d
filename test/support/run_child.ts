// Runs the recipe that it is given (JSON), going on with what is there; says so when it begins. A process to be killed.

import { run } from '../../src/recipe/run.js';
import type { RecipeInput } from '../../src/recipe/schema.js';

const recipe: RecipeInput = JSON.parse(process.argv[2] ?? '');
process.send?.('begins');
await run(recipe, { resume: true });
process.disconnect?.();
