// Learning rates against those of transformers' schedules (golden/schedules.json).

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { neverMoves, scheduleFactor, warmupSteps } from '../../src/methods/schedule.js';
import { suite } from '../support/suite.js';

const golden = z.object({
  num_steps: z.number(),
  learning_rate: z.number(),
  schedules: z.record(
    z.string(),
    z.object({
      name: z.enum(['linear', 'cosine', 'constant']),
      warmup_steps: z.number(),
      learning_rates: z.array(z.number()),
    }),
  ),
});

suite('schedules', (test) => {
  test('give the rates of transformers, step for step', async () => {
    const { num_steps, learning_rate, schedules } = golden.parse(
      JSON.parse(await readFile(new URL('../golden/schedules.json', import.meta.url), 'utf8')),
    );
    assert.ok(Object.keys(schedules).length >= 6);
    for (const [key, { name, warmup_steps, learning_rates }] of Object.entries(schedules)) {
      for (const [step, expected] of learning_rates.entries()) {
        const rate = learning_rate * scheduleFactor({ name, warmup_ratio: 0.9, warmup_steps }, step, num_steps);
        assert.ok(Math.abs(rate - expected) < 1e-14, `${key} step ${step}: ${rate}, not ${expected}`); // the file has 12 digits
      }
    }
  });

  test('a warm-up ratio is rounded up, as transformers does', () => {
    const schedule = { name: 'linear', warmup_ratio: 0.1, warmup_steps: null } as const;
    assert.equal(warmupSteps(schedule, 30), 3);
    assert.equal(warmupSteps(schedule, 31), 4);
    assert.equal(warmupSteps({ ...schedule, warmup_ratio: 0 }, 31), 0);
  });

  test('a single step of warm-up never moves', () => {
    const schedule = { name: 'linear', warmup_ratio: 0.1, warmup_steps: null } as const;
    assert.equal(neverMoves(schedule, 1, 1), true);
    assert.equal(neverMoves(schedule, 2, 2), false);
    assert.equal(neverMoves({ ...schedule, warmup_ratio: 0 }, 1, 1), false);
  });
});
