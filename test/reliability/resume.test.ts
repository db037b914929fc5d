// A run that is interrupted, at any place and as often as one likes, and gone on with leaves what an uninterrupted run leaves, bit by bit.

import assert from 'node:assert/strict';
import {
  appendFileSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { text } from '../../src/output/columns.js';
import { GrowingRows } from '../../src/output/round_files.js';
import { run } from '../../src/recipe/run.js';
import type { RunOptions } from '../../src/recipe/run_options.js';
import type { RecipeInput } from '../../src/recipe/schema.js';
import { metricsOf, runFiles } from '../support/run_files.js';
import { assertRejects, suite } from '../support/suite.js';
import { type TinyRun, tinyRun } from '../support/tiny_run.js';

/** Runs until the event of that number (a metric, a sampled token, samples), which aborts. True: it came to its end before. */
async function runUntil(recipe: RecipeInput, event: number, options: RunOptions = {}): Promise<boolean> {
  const controller = new AbortController();
  let events = 0;
  const count = () => {
    if (++events === event) controller.abort();
  };
  try {
    await run(recipe, { ...options, signal: controller.signal, onMetrics: count, onSampling: count, onSamples: count });
    return true;
  } catch (error) {
    if (!(error instanceof Error) || error.name !== 'AbortError') throw error;
    return false;
  }
}

const recipes: Record<string, (tiny: TinyRun) => RecipeInput> = {
  sft: ({ recipe }) => ({ ...recipe, method: 'sft', train: { ...recipe.train, epochs: 2 } }),
  'sft with the paper’s optimiser and schedule': ({ recipe }) => ({
    ...recipe,
    method: 'sft',
    train: { ...recipe.train, optimizer: { name: 'rmsprop', learning_rate: 1e-3 }, schedule: { name: 'linear' } },
  }),
  'irft, evaluated at every step': ({ recipe }) => ({ ...recipe, evaluation: { every: 1, samples: 3 } }),
  'irft, on-line': ({ recipe }) => ({ ...recipe, irft: { rounds: 2, generation_rate: 0.5, nll_weight: 0.5 } }),
  'irft, initial reference, one schedule': ({ recipe }) => ({
    ...recipe,
    train: { ...recipe.train, schedule: { name: 'cosine' } },
    irft: { rounds: 2, reference: 'initial', chunks: 'all', restart: 'never' },
  }),
  'spin with earlier pairs': ({ recipe }) => ({ ...recipe, method: 'spin', spin: { iterations: 3, mix_previous: 1 } }),
  'irft, checkpoints in fp16': ({ recipe }) => ({
    ...recipe,
    checkpoint: { every: 2, keep: 1, dtype: 'float16' },
  }),
};

suite('resume', (test) => {
  for (const [name, recipeOf] of Object.entries(recipes)) {
    test(`${name}: interrupted at every few events and gone on with`, async () => {
      const tiny = tinyRun();
      const recipe = { checkpoint: { every: 2 }, ...recipeOf(tiny) };
      await run({ ...recipe, output: tiny.path('whole') });
      const whole = runFiles(tiny.path('whole'));
      for (const distance of [3, 17, 40]) {
        const output = tiny.path(`every-${distance}`);
        let runs = 1;
        // Each attempt lives a little longer, so that it ends even where a stage keeps nothing.
        while (!(await runUntil({ ...recipe, output }, distance * runs, { resume: true }))) assert.ok(++runs < 200);
        assert.ok(runs > 1, `${runs} runs`);
        assert.deepEqual(runFiles(output), whole);
      }
    });
  }

  test('an abort at each step in turn: one interruption, then to the end', async () => {
    const tiny = tinyRun();
    await run({ ...tiny.recipe, output: tiny.path('whole') });
    const whole = runFiles(tiny.path('whole'));
    for (let event = 1; event < 120; event += 6) {
      const recipe = { ...tiny.recipe, output: tiny.path(`event-${event}`) };
      if (await runUntil(recipe, event)) break;
      await run(recipe, { resume: true });
      assert.deepEqual(runFiles(recipe.output), whole, `event ${event}`);
    }
  });

  test('with other threads, and from the oldest checkpoint when the newest is damaged', async () => {
    const tiny = tinyRun();
    const recipe = { ...tiny.recipe, checkpoint: { every: 1, keep: 3 } };
    await run({ ...recipe, output: tiny.path('whole') });
    const controller = new AbortController();
    await run(recipe, {
      signal: controller.signal,
      onMetrics: (record) => record.step === 5 && 'loss' in record && controller.abort(),
    }).catch(() => {});
    assert.deepEqual(readdirSync(tiny.path('run', 'checkpoints')), ['step-3', 'step-4', 'step-5']);
    writeFileSync(tiny.path('run', 'checkpoints', 'step-5', 'state.json'), '{"format": 1');
    rmSync(tiny.path('run', 'checkpoints', 'step-4', 'state.json'));
    const said: string[] = [];
    const log = { info: (text: string) => said.push(text), warn: (text: string) => said.push(text) };
    await run({ ...recipe, threads: 2 }, { resume: true, log });
    assert.ok(
      said.some((line) => line.includes('after step 3')),
      said.join('\n'),
    );
    assert.deepEqual(runFiles(tiny.path('run')), runFiles(tiny.path('whole')));
  });

  test('a finished run is told to be finished; where there is none, one begins', async () => {
    const tiny = tinyRun();
    const first = await run(tiny.recipe, { resume: true });
    const said: string[] = [];
    const again = await run(tiny.recipe, { resume: true, log: { info: (text) => said.push(text), warn() {} } });
    assert.ok(said.some((line) => line.includes('is finished')));
    assert.equal(again.steps, first.steps);
    assert.equal(again.metrics['eval/loss'], first.metrics['eval/loss']);
  });
});

suite('resume refuses', (test) => {
  async function interrupted(): Promise<TinyRun> {
    const tiny = tinyRun();
    const controller = new AbortController();
    const onMetrics: RunOptions['onMetrics'] = (record) => {
      if (record.step === 4 && 'loss' in record) controller.abort();
    };
    await assertRejects(() => run(tiny.recipe, { signal: controller.signal, onMetrics }), 'ABORT_ERR');
    return tiny;
  }

  test('another recipe, by its key', async () => {
    const tiny = await interrupted();
    await assertRejects(
      () => run({ ...tiny.recipe, irft: { rounds: 2, beta: 0.2 } }, { resume: true }),
      'ERR_GLEANER_RECIPE',
      /irft\.beta is 0\.2: the run in .* began with 0\.1/,
    );
    // What steers a run that went astray may be changed, and is said.
    const said: string[] = [];
    const { optimizer } = tiny.recipe.train ?? {};
    if (optimizer === undefined) throw new Error('the tiny recipe names its optimizer');
    await run(
      { ...tiny.recipe, train: { ...tiny.recipe.train, optimizer: { ...optimizer, learning_rate: 1e-4 } } },
      { resume: true, log: { info() {}, warn: (text) => said.push(text) } },
    );
    assert.ok(said.some((line) => /learning_rate is 0\.0001 from here on/.test(line)));
  });

  test('other data and another model', async () => {
    const tiny = await interrupted();
    const lines = readFileSync(tiny.path('train.jsonl'), 'utf8');
    writeFileSync(tiny.path('train.jsonl'), lines.replace('"row 1"', '"row one"'));
    await assertRejects(() => run(tiny.recipe, { resume: true }), 'ERR_GLEANER_DATA', /train\.jsonl: not the rows/);
    writeFileSync(tiny.path('train.jsonl'), lines);
    const config = readFileSync(tiny.path('config.json'), 'utf8');
    writeFileSync(tiny.path('config.json'), config.replace('10000', '10001'));
    await assertRejects(() => run(tiny.recipe, { resume: true }), 'ERR_GLEANER_MODEL', /not the weights/);
    writeFileSync(tiny.path('config.json'), config);
    await run(tiny.recipe, { resume: true });
  });

  test('a round whose pairs are gone', async () => {
    const tiny = await interrupted();
    rmSync(tiny.path('run', 'rounds', '1', 'pairs.arrow'));
    await assertRejects(() => run(tiny.recipe, { resume: true }), 'ERR_GLEANER_DATA', /pairs\.arrow is gone/);
  });

  test('checkpoints of which none can be read: they are not begun over', async () => {
    const tiny = await interrupted();
    const folder = tiny.path('run', 'checkpoints');
    for (const name of readdirSync(folder)) {
      const path = join(folder, name, 'state.json');
      writeFileSync(path, readFileSync(path, 'utf8').replace('"format":1', '"format":2'));
    }
    await assertRejects(() => run(tiny.recipe, { resume: true }), 'ERR_GLEANER_DATA', /none of its \d checkpoints/);
    assert.ok(readFileSync(tiny.path('run', 'metrics.jsonl')).length > 0);
  });

  test('other held-out rows; a damaged checkpoint, by its file, with the way to the one before it', async () => {
    const tiny = await interrupted();
    const rows = readFileSync(tiny.path('eval.jsonl'), 'utf8');
    writeFileSync(tiny.path('eval.jsonl'), rows.split('\n').slice(1).join('\n'));
    await assertRejects(() => run(tiny.recipe, { resume: true }), 'ERR_GLEANER_DATA', /not the rows/);
    writeFileSync(tiny.path('eval.jsonl'), rows);
    const newest = tiny.path('run', 'checkpoints', 'step-4');
    truncateSync(join(newest, 'optimizer.safetensors'), 500);
    const error = await assertRejects(() => run(tiny.recipe, { resume: true }), 'ERR_GLEANER_MODEL', /optimizer/);
    assert.ok('hint' in error && String(error.hint).includes(`Remove ${newest}`));
    rmSync(newest, { recursive: true });
    await run(tiny.recipe, { resume: true });
  });

  test('to begin where another run began meanwhile: that one is left alone', async () => {
    const tiny = tinyRun();
    const other = tinyRun();
    for (const options of [{ resume: true }, { overwrite: true }, {}]) {
      rmSync(tiny.path('run'), { recursive: true, force: true });
      let files: string[] = [];
      await assertRejects(
        () =>
          run(tiny.recipe, {
            ...options,
            onPlan: () => {
              // A live process's lock and files, as they would stand there by now.
              cpSync(other.folder, tiny.path('run'), { recursive: true });
              writeFileSync(tiny.path('run', 'metrics.jsonl'), '{"step":1}\n');
              writeFileSync(tiny.path('run', 'lock'), `${process.ppid}\n`);
              files = readdirSync(tiny.path('run')).sort();
            },
          }),
        'ERR_GLEANER_BUSY',
      );
      assert.deepEqual(readdirSync(tiny.path('run')).sort(), files);
    }
  });

  test('a folder that another process writes into', async () => {
    const tiny = await interrupted();
    writeFileSync(tiny.path('run', 'lock'), `${process.ppid}\n`);
    await assertRejects(() => run(tiny.recipe, { resume: true }), 'ERR_GLEANER_BUSY', /process \d+ is writing/);
    writeFileSync(tiny.path('run', 'lock'), '999999999\n'); // of a process that is gone
    await run(tiny.recipe, { resume: true });
    assert.ok(!existsSync(tiny.path('run', 'lock')));
  });
});

suite('rows of a round that was ended', (test) => {
  const columns = { id: text((row: { id: string }) => row.id) } as const;
  const open = (path: string) => GrowingRows.open<{ id: string }, typeof columns>({ path, columns, key: 'k' });
  const group = (from: number) => Array.from({ length: 3 }, (_, row) => ({ id: `${from + row}` }));

  test('go on behind the last whole group, whatever a crash left behind it', async () => {
    for (const tail of [
      Buffer.alloc(0),
      Buffer.alloc(4096),
      Buffer.from('ffffffff00000000', 'hex'),
      Buffer.from([255, 255]),
    ]) {
      const path = join(tinyRun().folder, 'rows.arrow');
      const first = await open(path);
      await first.append(group(0));
      await first.close();
      appendFileSync(`${path}.part`, tail);
      const second = await open(path);
      assert.equal(second.length, 3);
      await second.append(group(3));
      await using rows = await second.finish();
      const found = await rows.rows([0, 1, 2, 3, 4, 5]);
      assert.deepEqual(
        found.map(({ id }) => id),
        ['0', '1', '2', '3', '4', '5'],
      );
      const third = await open(path);
      assert.equal(third.length, 6);
      await (await third.finish()).close();
    }
  });
});

suite('checkpoints', (test) => {
  test('what did not change since the one before is the same file on the disk', async () => {
    const tiny = tinyRun();
    await run({ ...tiny.recipe, irft: { rounds: 2, generation_rate: 0.5 }, checkpoint: { every: 1, keep: 6 } });
    const files = [1, 2, 4, 5].map((step) =>
      statSync(tiny.path('run', 'checkpoints', `step-${step}`, 'round.safetensors')),
    );
    const [first, second, fourth, fifth] = files.map(({ ino }) => ino);
    assert.ok(first === second && fourth === fifth && first !== fourth);
  });
});

suite('checkpoint.best', (test) => {
  test('keeps the checkpoint with the best evaluation, whatever keep says', async () => {
    const tiny = tinyRun(80);
    await run({
      ...tiny.recipe,
      method: 'sft',
      train: { ...tiny.recipe.train, epochs: 6, optimizer: { name: 'adamw', learning_rate: 0.1 } },
      evaluation: { every: 4, samples: 0 },
      checkpoint: { every: 5, keep: 1, best: { metric: 'eval/loss' } },
    });
    const measured = metricsOf(tiny.path('run')).filter((record) => 'eval/loss' in record && Number(record.step) > 0);
    const losses = measured.map((record) => Number(record['eval/loss']));
    const best = measured[losses.indexOf(Math.min(...losses))]?.step;
    assert.ok(readdirSync(tiny.path('run', 'checkpoints')).includes(`step-${best}`), `${best}`);
    assert.ok(readdirSync(tiny.path('run', 'checkpoints')).length <= 2);
  });
});
