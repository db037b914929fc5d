// SFT with a tabular policy: what it converges to, its steps, its measurements, and how it ends when nothing is finite any more.

import assert from 'node:assert/strict';
import { GleanerError } from '../../src/common/errors.js';
import { sft } from '../../src/methods/sft.js';
import { methodContext, stepRecords } from '../support/method_context.js';
import { suite } from '../support/suite.js';
import { TabularTrainer } from '../support/tabular_trainer.js';

const rows = Array.from({ length: 6 }, (_, i) => ({
  id: `row ${i}`,
  prompt_ids: [9],
  response_ids: i % 2 ? [0, 1, 2] : [0],
}));

suite('sft', (test) => {
  test('puts all mass on the one action that is demonstrated (one state, three actions)', async () => {
    const engine = new TabularTrainer({ vocab: 3 });
    const demonstrations = Array.from({ length: 4 }, (_, i) => ({ id: `${i}`, prompt_ids: [9], response_ids: [0] }));
    await sft.run(methodContext(engine, demonstrations, { train: { epochs: 2000 } }), {});
    const [seen = 0] = engine.probabilities([9]);
    assert.ok(seen > 0.998, `${seen}`);
  });

  test('a run of nothing but the warm-up’s first step is refused: it would train nothing', () => {
    const schedule = { name: 'linear', warmup_ratio: 0.1, warmup_steps: null } as const;
    const { train } = methodContext(new TabularTrainer({ vocab: 3 }), rows, { train: { batch_size: 8, schedule } });
    assert.throws(
      () => sft.plan({ numRows: 6, train }, {}),
      (error) =>
        error instanceof GleanerError && error.code === 'ERR_GLEANER_RECIPE' && !error.hint?.includes('restart'),
    );
    assert.equal(sft.plan({ numRows: 6, train: { ...train, epochs: 2 } }, {})[0]?.steps, 2);
  });

  test('takes one denominator: the target tokens of the whole step', async () => {
    const engine = new TabularTrainer({ vocab: 3 });
    const context = methodContext(engine, rows, { train: { batch_size: 6 } });
    await sft.run(context, {});
    const [record] = stepRecords(context);
    assert.ok(Math.abs((record?.loss ?? 0) - Math.log(3)) < 1e-12); // uniform table: every token costs ln 3
    assert.equal(engine.batches[0] && 'rows' in engine.batches[0] && engine.batches[0].rows.length, 6);
  });

  test('goes through epochs × batches steps on one schedule, and reports each', async () => {
    const engine = new TabularTrainer({ vocab: 3 });
    const context = methodContext(engine, rows, {
      train: { epochs: 2, schedule: { name: 'linear', warmup_ratio: 0.25, warmup_steps: null } },
    });
    assert.deepEqual(sft.plan({ numRows: 6, train: context.train }, {}), [{ rows: 6, generations: 0, steps: 4 }]);
    await sft.run(context, {});
    assert.deepEqual(engine.learningRates, [0, 0.5, 0.5 * (2 / 3), 0.5 * (1 / 3)]);
    const records = stepRecords(context);
    assert.deepEqual(
      records.map((record) => record.step),
      [1, 2, 3, 4],
    );
    assert.deepEqual(
      records.map((record) => record.epoch),
      [4 / 6, 1, 1 + 4 / 6, 2],
    );
    for (const key of [
      'loss',
      'grad_norm',
      'learning_rate',
      'num_tokens',
      'tokens_per_second',
      'memory/peak_bytes',
      'time/update',
      'round',
    ]) {
      assert.ok(
        records.every((record) => Number.isFinite(record[key])),
        key,
      );
    }
    assert.equal(records.at(-1)?.num_tokens, 24); // counted over the run
  });

  test('max_steps ends it, and the schedule with it', async () => {
    const engine = new TabularTrainer({ vocab: 3 });
    await sft.run(
      methodContext(engine, rows, {
        train: { epochs: 9, max_steps: 2, schedule: { name: 'linear', warmup_ratio: 0, warmup_steps: null } },
      }),
      {},
    );
    assert.deepEqual(engine.learningRates, [0.5, 0.25]);
  });

  test('a run that max_steps cuts to the warm-up’s first step is refused: no weight would move', () => {
    const train = { schedule: { name: 'linear', warmup_ratio: 0.1, warmup_steps: null }, max_steps: 1 } as const;
    const context = methodContext(new TabularTrainer({ vocab: 3 }), rows, { train: { ...train, epochs: 9 } });
    assert.throws(() => sft.plan({ numRows: 6, train: context.train }, {}), {
      code: 'ERR_GLEANER_RECIPE',
      message: /1 step in all/,
    });
  });

  test('held-out loss is nats per token over all rows; the gap is against what the base wrote', async () => {
    const engine = new TabularTrainer({ vocab: 3 });
    const held_out = [
      { id: 'a', prompt_ids: [9], response_ids: [0] },
      { id: 'b', prompt_ids: [8], response_ids: [1, 1, 1] },
    ];
    const context = methodContext(engine, rows, {
      held_out,
      evaluation: { every: 1, samples: 2 },
      reward: async (texts) => texts.map(() => 2),
    });
    await sft.run(context, {});
    const evaluations = context.records.filter((record) => 'eval/loss' in record);
    assert.deepEqual(
      evaluations.map((record) => record.step),
      [0, 1, 2],
    );
    assert.ok(Math.abs((evaluations[0]?.['eval/loss'] ?? 0) - Math.log(3)) < 1e-12);
    assert.ok((evaluations[2]?.['eval/loss'] ?? 9) < Math.log(3));
    // One token against one, three against one, all at ln 3.
    assert.ok(Math.abs((evaluations[0]?.['eval/logp_gap'] ?? 0) + Math.log(3)) < 1e-12);
    assert.equal(context.records.filter((record) => record['eval/reward'] === 2).length, 2);
    assert.equal(new Set(engine.generateSeeds).size, 1); // the same seed: answers before and after can be compared
  });

  test('a step that is not finite is skipped and said; ten in a row end the run', async () => {
    const few = new TabularTrainer({ vocab: 3, breakUpdates: (update) => update < 9 });
    const context = methodContext(few, rows, { train: { epochs: 6 } });
    await sft.run(context, {});
    assert.equal(stepRecords(context).at(-1)?.skipped_steps, 9);
    assert.equal(context.said.filter((line) => line.includes('was skipped')).length, 9);

    const many = new TabularTrainer({ vocab: 3, breakUpdates: () => true });
    await assert.rejects(() => sft.run(methodContext(many, rows, { train: { epochs: 50 } }), {}), {
      code: 'ERR_GLEANER_NUMERIC',
      message: /10 steps in a row, the last of them step 10/,
    });
  });
});
