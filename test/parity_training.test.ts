// 20 training steps and the schedules against torch and transformers (test/golden).

import assert from 'node:assert/strict';
import { Engine } from '../src/engine/engine.js';
import type { OptimizerSettings } from '../src/engine/types.js';
import { scheduleFactor } from '../src/methods/schedule.js';
import {
  goldenModel,
  goldenTensors,
  maxDifference,
  readGolden,
  readSchedules,
  trainedModels,
} from './golden/golden.js';
import { suite } from './support/suite.js';

const WEIGHTS = 1e-4; // max abs after 20 steps; torch's own fp32 is 1e-6 away from the golden fp64

suite('parity: 20 steps of training', (test) => {
  for (const name of trainedModels) {
    const { training } = readGolden(name);
    assert.ok(training, `${name} has no training in its golden file`);
    const { adamw, rmsprop } = training.optimizers;
    const optimizers: [OptimizerSettings, typeof adamw | typeof rmsprop][] = [
      [{ name: 'adamw', ...adamw.settings }, adamw],
      [{ name: 'rmsprop', ...rmsprop.settings }, rmsprop],
    ];
    for (const [optimizer, trace] of optimizers) {
      test(`${name}, ${optimizer.name}: losses, gradient norms and weights`, async () => {
        await using engine = await Engine.load(goldenModel(name), { threads: 2 });
        // 32 tokens: most steps take two or three micro-batches.
        await engine.prepareTraining({ optimizer, activations: 'keep', micro_batch_tokens: 32, max_length: 32 });
        assert.equal(trace.learning_rates.length, training.num_steps);
        for (const [step, learning_rate] of trace.learning_rates.entries()) {
          const rows = (training.batches[step % training.batches.length] ?? []).map((row, i) => ({
            id: `${i}`,
            ...row,
          }));
          const found = await engine.update(
            { objective: { name: 'sft' }, rows },
            { learning_rate, max_grad_norm: training.max_grad_norm },
          );
          assert.equal(found.skipped, false);
          assert.ok(
            Math.abs(found.loss - (trace.losses[step] ?? Number.NaN)) <= 1e-4,
            `loss of step ${step + 1}: ${found.loss}, wanted ${trace.losses[step]}`,
          );
          const ratio = found.grad_norm / (trace.grad_norms[step] ?? Number.NaN);
          assert.ok(
            Math.abs(ratio - 1) <= 1e-4,
            `gradient norm of step ${step + 1}: ${found.grad_norm}, wanted ${trace.grad_norms[step]}`,
          );
        }
        const weights = await engine.readTensors();
        const wanted = goldenTensors(name, `${optimizer.name}.weight/`);
        assert.deepEqual([...weights.keys()].sort(), [...wanted.keys()].sort());
        for (const [tensor, values] of wanted) {
          const difference = maxDifference(weights.get(tensor) ?? [], values, training.undetermined[tensor]);
          assert.ok(difference <= WEIGHTS, `${tensor} differs by ${difference}`);
        }
      });
    }
  }
});

suite('parity: schedules', (test) => {
  const { num_steps, learning_rate, schedules } = readSchedules();
  for (const [key, { name, warmup_steps, learning_rates }] of Object.entries(schedules)) {
    test(key, () => {
      const found = Array.from(
        { length: num_steps },
        (_, step) => learning_rate * scheduleFactor({ name, warmup_steps, warmup_ratio: 0 }, step, num_steps),
      );
      assert.ok(maxDifference(found, learning_rates) <= 1e-14, `${found} wanted ${learning_rates}`);
    });
  }
});
