// kill -9 at 51 random moments, also while a checkpoint is being written: the run can always be gone on with, and leaves what an uninterrupted
// run leaves, bit by bit.

import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { randomUnit } from '../../src/common/philox.js';
import { run } from '../../src/recipe/run.js';
import type { RecipeInput } from '../../src/recipe/schema.js';
import { runFiles } from '../support/run_files.js';
import { suite } from '../support/suite.js';
import { tinyRun } from '../support/tiny_run.js';

const KILLS = 51;
const LONG = 100_000;
const child = fileURLToPath(new URL('../support/run_child.mjs', import.meta.url));
let amidCheckpoint = 0;

/** True: it was killed; false: it came to its end before. */
async function killedAfter(recipe: RecipeInput, milliseconds: number): Promise<boolean> {
  const process_ = fork(child, [JSON.stringify(recipe)], {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let said = '';
  process_.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const ended = new Promise<{ code: number | null }>((resolve) => process_.on('close', (code) => resolve({ code })));
  await Promise.race([new Promise((resolve) => process_.on('message', resolve)), ended]);
  await Promise.race([sleep(milliseconds), ended]);
  process_.kill('SIGKILL');
  const { code } = await ended;
  assert.ok(code === null || code === 0, `ended with ${code}: ${said}`);
  return code === null;
}

function writesCheckpoint(folder: string): boolean {
  try {
    return readdirSync(`${folder}/checkpoints`).some((name) => name.endsWith('.part'));
  } catch {
    return false;
  }
}

suite('kill -9', (test) => {
  const tiny = tinyRun(40);
  const base: RecipeInput = { ...tiny.recipe, checkpoint: { every: 1, keep: 2 }, evaluation: { every: 3, samples: 3 } };
  const recipes: RecipeInput[] = [
    { ...base, irft: { rounds: 3, generation_rate: 0.3 }, train: { ...base.train, epochs: 8 } },
    { ...base, method: 'spin', spin: { iterations: 3, mix_previous: 2 }, train: { ...base.train, epochs: 3 } },
    { ...base, method: 'sft', train: { ...base.train, epochs: 8 } },
  ];

  for (const [place, recipe] of recipes.entries()) {
    const share = Math.ceil(KILLS / recipes.length);
    test(`${recipe.method}: ${share} times, then to the end: the same weights, metrics and texts`, async () => {
      const whole = tiny.path(`whole-${place}`);
      await run({ ...recipe, output: whole });
      for (let kills = 0, attempt = 0; kills < share; ++attempt) {
        const output = tiny.path(`killed-${place}-${attempt}`);
        for (let life = 0; ; ++life) {
          // Short lives hit the start and the first checkpoint, long ones what comes later; the last one is let live.
          const milliseconds = randomUnit(11, 'rows', [place, attempt, life]) ** 2 * 1200;
          if (!(await killedAfter({ ...recipe, output }, kills < share ? milliseconds : LONG))) break;
          ++kills;
          if (writesCheckpoint(output)) ++amidCheckpoint;
        }
        assert.deepEqual(runFiles(output), runFiles(whole));
      }
    });
  }

  test('some of the kills hit a checkpoint that was being written', () => {
    console.log(`${amidCheckpoint} kills while a checkpoint was being written`);
    assert.ok(amidCheckpoint > 0);
  });
});
