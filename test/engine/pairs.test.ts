// SPIN and IRFT on a real engine: the start of every round, its reference and its gradient.
// Log-probs are sums of up to a dozen fp32 numbers: 1e-5 of a margin at β 0.1. Gradients: 1e-5 of a tensor's norm, 2e-5 where two are subtracted.

import assert from 'node:assert/strict';
import { Engine } from '../../src/engine/engine.js';
import type { PairRow, TokenRow, Trainer, UpdateBatch } from '../../src/engine/types.js';
import { type IrftOptions, irft } from '../../src/methods/irft.js';
import type { Metrics } from '../../src/methods/method.js';
import { spin } from '../../src/methods/spin.js';
import { goldenModel } from '../golden/golden.js';
import { assertSimilar, trainingOptions, withGolden } from '../support/engines.js';
import { methodContext, stepRecords } from '../support/method_context.js';
import { demonstrations, EOS, generatedRow, logprobGradient, realRow, total } from '../support/pairs.js';
import { assertClose, suite } from '../support/suite.js';

const BETA = 0.1;
const generation = { max_new_tokens: 12, temperature: 1, top_p: 1, top_k: 0 };
const options = (some: Partial<IrftOptions> = {}): IrftOptions => ({ ...irft.options.parse({}), beta: BETA, ...some });

/** The engine, with a word to say before each update. */
function watched(
  engine: Engine,
  beforeUpdate: (pairs: readonly PairRow[], batch: UpdateBatch) => Promise<void>,
): Trainer {
  return {
    score: (rows, settings) => engine.score(rows, settings),
    generate: (prompts, settings) => engine.generate(prompts, settings),
    resetOptimizer: () => engine.resetOptimizer(),
    withInitialWeights: (work) => engine.withInitialWeights(work),
    markRound: () => engine.markRound(),
    withRoundWeights: (work) => engine.withRoundWeights(work),
    async update(batch, step) {
      await beforeUpdate('pairs' in batch ? batch.pairs : [], batch);
      return engine.update(batch, step);
    },
  };
}

interface Setting {
  name?: string;
  rows?: readonly TokenRow[];
  epochs?: number;
  batch_size?: number;
  beforeUpdate?: (engine: Engine, pairs: readonly PairRow[], batch: UpdateBatch, update: number) => Promise<void>;
}

/** Runs a method on a golden model; the records of its steps. */
async function train(
  method: 'spin' | Partial<IrftOptions>,
  { name = 'llama-gqa', rows = demonstrations(), epochs = 2, batch_size = 4, beforeUpdate }: Setting = {},
) {
  return withGolden(name, {}, async (engine) => {
    await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 64 });
    let updates = 0;
    const trainer = watched(engine, async (pairs, batch) => beforeUpdate?.(engine, pairs, batch, updates++));
    const optimizer = { ...trainingOptions.optimizer, learning_rate: 3e-3 };
    const context = methodContext(trainer, rows, {
      generation,
      eos_token_ids: [EOS],
      train: { epochs, batch_size, optimizer },
    });
    if (method === 'spin') await spin.run(context, { ...spin.options.parse({}), beta: BETA });
    else await irft.run(context, options(method));
    return stepRecords(context);
  });
}

const isFirstOfRound = (records: readonly Metrics[], i: number): boolean => records[i]?.round !== records[i - 1]?.round;

suite('the first step of every round', (test) => {
  const methods: [string, 'spin' | Partial<IrftOptions>, number][] = [
    ['irft', {}, 3],
    ['irft, all of the data each round', { chunks: 'all', rounds: 2 }, 2],
    ['irft, hinge', { loss: 'hinge' }, 3],
    ['irft, linear', { loss: 'linear' }, 3],
    ['spin, earlier pairs mixed in', 'spin', 2],
  ];
  for (const [name, method, rounds] of methods) {
    for (const model of ['llama-gqa', 'neox-parallel'] as const) {
      test(`${name}, ${model}: the loss of margin 0, margin 0, and it moves on`, async () => {
        const records = await train(method, { name: model });
        const firsts = records.filter((_, i) => isFirstOfRound(records, i));
        assert.equal(firsts.length, rounds);
        const loss = { logistic: Math.LN2, hinge: 1, linear: 0 }[
          (typeof method === 'object' && method.loss) || 'logistic'
        ];
        for (const first of firsts) {
          assertClose(first.loss ?? Number.NaN, loss, 1e-5);
          assertClose(first['rewards/margins'] ?? Number.NaN, 0, 1e-5);
        }
        for (const record of records.filter((record) => !firsts.includes(record)))
          assert.ok(Math.abs((record.loss ?? 0) - loss) > 1e-4, `the loss stays ${record.loss}`);
      });
    }
  }

  test('the gradient there is −β/2·(∇log π(y) − ∇log π(ỹ)), the mean over pairs', async () => {
    let checked = 0;
    const seen: number[] = [];
    const records = await train(
      { rounds: 2 },
      {
        epochs: 1,
        batch_size: 12,
        async beforeUpdate(engine, pairs, batch, update) {
          seen.push(update);
          const { gradients } = await engine.gradients(batch);
          const share = BETA / 2 / pairs.length;
          const wanted = total(
            await logprobGradient(engine, pairs.map(realRow), -share),
            await logprobGradient(engine, pairs.map(generatedRow), share),
          );
          assertSimilar(gradients, wanted, 2e-5);
          ++checked;
        },
      },
    );
    assert.equal(checked, 2); // one step a round
    assert.deepEqual(
      records.map(({ round }) => round),
      [0, 1],
    );
  });

  test('the cached reference is what a fresh pass gives, for pairs of this round and of earlier ones', async () => {
    for (const method of ['spin', {}] as const) {
      let round = Number.NaN;
      let checked = 0;
      await train(method, {
        async beforeUpdate(engine, pairs, _, update) {
          // Only before a round's first update are the weights those of its reference.
          const first = update === 0 || (method === 'spin' ? update === 12 : update % 4 === 0);
          if (!first) return;
          round = update;
          const [real, generated] = [
            await engine.score(pairs.map(realRow)),
            await engine.score(pairs.map(generatedRow)),
          ];
          for (const [i, { ref_real, ref_generated }] of pairs.entries()) {
            assert.equal(ref_real, real[i]?.logprob); // one pass in two packings: the same bits
            assertClose(ref_generated, generated[i]?.logprob ?? Number.NaN, 1e-4); // the sampler's own
            ++checked;
          }
        },
      });
      assert.ok(round > 0 && checked >= 8);
    }
  });

  test('the loss leaves ln 2 far behind: pairs are told apart', async () => {
    const records = await train({ rounds: 1 }, { rows: demonstrations(8), epochs: 20, batch_size: 8 });
    const last = records.at(-1);
    assert.ok((last?.loss ?? 1) < 0.4, `${last?.loss}`);
    assert.equal(last?.['rewards/accuracies'], 1);
  });
});

suite('reference: initial', (test) => {
  test('the margin at the start of round 1 is that of a fresh computation with two models, and not 0', async () => {
    await using initial = await Engine.load(goldenModel('llama-gqa'), { threads: 1 });
    const wanted: number[] = [];
    const records = await train(
      { rounds: 2, reference: 'initial', chunks: 'all' },
      {
        async beforeUpdate(engine, pairs) {
          let sum = 0;
          const reference = await initial.score([...pairs.map(realRow), ...pairs.map(generatedRow)]);
          const policy = await engine.score([...pairs.map(realRow), ...pairs.map(generatedRow)]);
          for (const [i, { ref_real, ref_generated }] of pairs.entries()) {
            const [real, generated] = [i, pairs.length + i];
            assertClose(ref_real, reference[real]?.logprob ?? Number.NaN, 1e-4);
            assertClose(ref_generated, reference[generated]?.logprob ?? Number.NaN, 1e-4);
            const gain = (place: number) =>
              (policy[place]?.logprob ?? Number.NaN) - (reference[place]?.logprob ?? Number.NaN);
            sum += BETA * (gain(real) - gain(generated));
          }
          wanted.push(sum / pairs.length);
        },
      },
    );
    assert.deepEqual([...new Set(records.map(({ round }) => round))], [0, 1]);
    for (const [i, record] of records.entries())
      assertClose(record['rewards/margins'] ?? Number.NaN, wanted[i] ?? Number.NaN, 1e-5);
    assertClose(records[0]?.['rewards/margins'] ?? Number.NaN, 0, 1e-5);
    const first = records.find(({ round }) => round === 1);
    assert.ok(Math.abs(first?.['rewards/margins'] ?? 0) > 0.01, `${first?.['rewards/margins']}`);
  });

  test('on-line mode: both sides have the round’s reference, computed with the round’s weights', async () => {
    let round: Engine | undefined;
    try {
      await train(
        { rounds: 1, generation_rate: 1 },
        {
          rows: demonstrations(8),
          async beforeUpdate(_, pairs) {
            round ??= await Engine.load(goldenModel('llama-gqa')); // round 0 begins with the initial weights
            const reference = await round.score([...pairs.map(realRow), ...pairs.map(generatedRow)]);
            for (const [i, { ref_real, ref_generated }] of pairs.entries()) {
              assertClose(ref_real, reference[i]?.logprob ?? Number.NaN, 1e-4);
              assertClose(ref_generated, reference[pairs.length + i]?.logprob ?? Number.NaN, 1e-4);
            }
          },
        },
      );
    } finally {
      await round?.close();
    }
  });
});
