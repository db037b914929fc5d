// Damaged files of an interrupted run: going on either works, from a checkpoint before it if need be, or gives one GleanerError.

import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { GleanerError } from '../../src/common/errors.js';
import { run } from '../../src/recipe/run.js';
import { change, changed } from '../support/damage.js';
import { assertRejects, suite } from '../support/suite.js';
import { tinyRun } from '../support/tiny_run.js';

const FILES = [
  'recipe.yaml',
  'metrics.jsonl',
  'lock',
  'checkpoints/step-4/state.json',
  'checkpoints/step-4/optimizer.safetensors',
  'checkpoints/step-4/round.safetensors',
  'checkpoints/step-4/policy/model.safetensors',
  'checkpoints/step-4/policy/config.json',
  'rounds/1/pairs.arrow',
  'rounds/1/generations.arrow',
];
const RUNS = 120;

suite('damaged files of a run', (test) => {
  test('it goes on, or says what is wrong with which file', async () => {
    const tiny = tinyRun();
    const recipe = { ...tiny.recipe, irft: { rounds: 2, generation_rate: 0.5 }, checkpoint: { every: 2, keep: 2 } };
    const controller = new AbortController();
    await assertRejects(
      () =>
        run(recipe, {
          signal: controller.signal,
          onMetrics: (record) => record.step === 4 && 'loss' in record && controller.abort(),
        }),
      'ABORT_ERR',
    );
    cpSync(tiny.path('run'), tiny.path('kept'), { recursive: true });
    const outcomes = { resumed: 0, refused: 0 };
    const property = fc.asyncProperty(
      fc.constantFrom(...FILES),
      fc.array(change, { minLength: 1, maxLength: 2 }),
      async (file, changes) => {
        rmSync(tiny.path('run'), { recursive: true });
        cpSync(tiny.path('kept'), tiny.path('run'), { recursive: true });
        const path = tiny.path('run', file);
        const whole = file === 'lock' ? Buffer.from('12345678\n') : readFileSync(path);
        writeFileSync(path, changes.reduce(changed, whole));
        try {
          await run(recipe, { resume: true });
          outcomes.resumed += 1;
        } catch (error) {
          if (!(error instanceof GleanerError)) throw error;
          assert.ok(error.code !== 'ERR_GLEANER_INTERNAL', error.message);
          // Ids that a damaged file of pairs holds are refused by the engine, which knows no files.
          const named = error.message.includes(tiny.folder) || /^(token id|row) /.test(error.message);
          assert.ok(named && error.message.length < 700, `${file}: ${error.message}`);
          outcomes.refused += 1;
        }
      },
    );
    await fc.assert(property, { seed: 31, numRuns: RUNS, includeErrorInReport: true });
    assert.ok(outcomes.resumed > RUNS / 10 && outcomes.refused > RUNS / 10, JSON.stringify(outcomes));
  });
});
