// kill -9 at fifty random moments, also while a checkpoint is being written: the run can always be gone on with, and leaves what an uninterrupted
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

const KILLS = 50;
const child = fileURLToPath(new URL('../support/run_child.mjs', import.meta.url));
let kills = 0;
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

  test(`${KILLS} times, then to the end: the same weights, metrics and texts`, async () => {
    for (let attempt = 0; kills < KILLS; ++attempt) {
      const recipe = recipes[attempt % recipes.length] ?? base;
      const whole = tiny.path(`whole-${attempt}`);
      await run({ ...recipe, output: whole });
      const output = tiny.path(`killed-${attempt}`);
      for (let life = 0; ; ++life) {
        // Short lives hit the start and the first checkpoint, long ones what comes later.
        const milliseconds = randomUnit(11, 'rows', [attempt, life]) ** 2 * 900;
        if (!(await killedAfter({ ...recipe, output }, milliseconds))) break;
        ++kills;
        if (writesCheckpoint(output)) ++amidCheckpoint;
        if (kills % 10 === 0) console.log(`${kills} kills`);
        assert.ok(life < 200, 'it gets nowhere');
      }
      assert.deepEqual(runFiles(output), runFiles(whole));
    }
    console.log(`${kills} kills, ${amidCheckpoint} of them while a checkpoint was being written`);
    assert.ok(amidCheckpoint > 0);
  });
});
