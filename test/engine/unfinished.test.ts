// Steps that do not come to their end (aborted, skipped, failed) leave weights, moments, step count and gradients exactly as they were: a
// checkpoint made right afterwards is the one of before.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from '../../src/engine/engine.js';
import type { TokenRow, UpdateBatch } from '../../src/engine/types.js';
import { adamw, trainingOptions, withGolden } from '../support/engines.js';
import { demonstrations, somePairs } from '../support/pairs.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const rmsprop = { name: 'rmsprop', learning_rate: 1e-3, alpha: 0.99, eps: 1e-8, weight_decay: 0 } as const;
const rows = demonstrations(24);
const sft: UpdateBatch = { objective: { name: 'sft' }, rows };
const pair: UpdateBatch = {
  objective: { name: 'pair', loss: 'hinge', beta: 0.1, nll_weight: 0.1 },
  pairs: somePairs(),
};
const step = { learning_rate: 1e-2, max_grad_norm: 1 };
const MICRO_BATCH = 48;

type Compute = (rows: readonly TokenRow[], logprobs: readonly Float32Array[]) => { loss: number; slope: number };
/** Its own objective, called once a micro-batch. */
const custom = (compute: Compute): UpdateBatch => ({
  objective: {
    name: 'custom',
    denominator: 'targets',
    compute: (members, logprobs) => {
      const { loss, slope } = compute(members, logprobs);
      return { loss, dlogprobs: logprobs.map((values) => values.map(() => slope)) };
    },
  },
  rows,
});

const folder = temporaryFolder();
/** All of the state as bytes, and whether every gradient is zero. */
async function stateOf(engine: Engine): Promise<{ bytes: Buffer; empty: boolean }> {
  const path = join(folder, 'state');
  await engine.saveTrainingState(path, { weights: true });
  const gradients = [...(await engine.readTensors(true)).values()];
  return { bytes: readFileSync(path), empty: gradients.every((values) => values.every((value) => value === 0)) };
}

type Attempt = (engine: Engine) => Promise<'done' | 'not done'>;
const attempt =
  (work: (engine: Engine) => Promise<{ skipped: boolean }>): Attempt =>
  (engine) =>
    work(engine).then(
      ({ skipped }) => (skipped ? 'not done' : 'done'),
      () => 'not done',
    );

/** Trains two steps, tries, and compares; then the next step is that of an engine that never tried. */
async function compare(optimizer: typeof adamw | typeof rmsprop, work: Attempt): Promise<'done' | 'not done'> {
  const prepared = async (engine: Engine) => {
    await engine.prepareTraining({ ...trainingOptions, optimizer, micro_batch_tokens: MICRO_BATCH });
    await engine.update(sft, step);
    await engine.update(pair, step);
    return stateOf(engine);
  };
  return withGolden('llama-gqa', {}, async (engine) => {
    const before = await prepared(engine);
    const became = await work(engine);
    const after = await stateOf(engine);
    assert.ok(before.empty && after.empty, 'gradients are left');
    assert.equal(after.bytes.equals(before.bytes), became === 'not done', `the state changed, the step was ${became}`);
    const next = await engine.update(sft, step);
    if (became === 'not done')
      await withGolden('llama-gqa', {}, async (other) => {
        await prepared(other);
        assert.deepEqual(next, await other.update(sft, step));
        assert.ok((await stateOf(engine)).bytes.equals((await stateOf(other)).bytes));
      });
    return became;
  });
}

suite('steps that do not come to their end', (test) => {
  const good: Compute = () => ({ loss: 1, slope: -1 });
  let calls = 0;
  test.before(() =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: MICRO_BATCH });
      const { micro_batches } = await engine.update(
        custom((...args) => {
          calls += 1;
          return good(...args);
        }),
        step,
      );
      assert.ok(micro_batches === calls && calls > 6);
    }),
  );

  for (const optimizer of [adamw, rmsprop]) {
    for (const [name, batch] of [
      ['sft', sft],
      ['pair', pair],
      ['an objective of the caller’s own', custom(good)],
    ] as const) {
      test(`${optimizer.name}, ${name}: aborted before it begins`, async () => {
        const signal = AbortSignal.abort();
        assert.equal(
          await compare(
            optimizer,
            attempt((engine) => engine.update(batch, { ...step, signal })),
          ),
          'not done',
        );
      });

      test(`${optimizer.name}, ${name}: aborted at any moment it is done or was never begun`, async () => {
        for (let turns = 0; turns < 12; ++turns) {
          const controller = new AbortController();
          const { signal } = controller;
          await compare(optimizer, async (engine) => {
            const update = attempt(() => engine.update(batch, { ...step, signal }))(engine);
            for (let i = 0; i < turns; ++i) await new Promise((resolve) => setImmediate(resolve));
            controller.abort();
            return update;
          });
        }
      });
    }

    for (const where of ['first', 'middle', 'last'] as const) {
      const place = () => ({ first: 1, middle: calls >> 1, last: calls })[where];
      const at = (work: (engine: Engine, controller: AbortController) => { loss: number; slope: number }): Attempt =>
        attempt((engine) => {
          const controller = new AbortController();
          let call = 0;
          const batch = custom((...args) => (++call === place() ? work(engine, controller) : good(...args)));
          return engine.update(batch, { ...step, signal: controller.signal });
        });
      test(`${optimizer.name}, at the ${where} micro-batch: aborted, thrown, not a number`, async () => {
        const works: Parameters<typeof at>[0][] = [
          (_, controller) => {
            controller.abort();
            return { loss: 1, slope: -1 };
          },
          () => {
            throw new RangeError('mine');
          },
          () => ({ loss: Number.NaN, slope: 1 }),
          () => ({ loss: 1, slope: Number.POSITIVE_INFINITY }),
          () => ({ loss: 1, slope: Number.NaN }),
        ];
        for (const work of works) assert.equal(await compare(optimizer, at(work)), 'not done');
      });
    }

    test(`${optimizer.name}: a row that cannot be, after many that can`, async () => {
      const bad: TokenRow = { id: 'bad', prompt_ids: [3], response_ids: [4, 101] };
      const update = attempt((engine) => engine.update({ ...sft, rows: [...rows, bad] }, step));
      assert.equal(await compare(optimizer, update), 'not done');
    });
  }

  test('an abort after the step changes nothing', async () => {
    const controller = new AbortController();
    const update = attempt(async (engine) => {
      const result = await engine.update(sft, { ...step, signal: controller.signal });
      controller.abort();
      return result;
    });
    assert.equal(await compare(adamw, update), 'done');
  });
});
