// IRFT and SPIN with a tabular policy: the first step of every round, the reference, chunks, mixing, restarts and dropped pairs.

import assert from 'node:assert/strict';
import { GleanerError } from '../../src/common/errors.js';
import type { PairRow, TokenRow, UpdateBatch } from '../../src/engine/types.js';
import { type IrftOptions, irft } from '../../src/methods/irft.js';
import { type SpinOptions, spin } from '../../src/methods/spin.js';
import { type ContextOptions, methodContext, stepRecords } from '../support/method_context.js';
import { suite } from '../support/suite.js';
import { type Table, TabularTrainer } from '../support/tabular_trainer.js';

const VOCAB = 5;
const generation = { max_new_tokens: 4, temperature: 1, top_p: 1, top_k: 0 };
const options = (some: Partial<IrftOptions> = {}): IrftOptions => ({
  ...irft.options.parse({}),
  beta: 0.3,
  rounds: 3,
  ...some,
});
const spinOptions = (some: Partial<SpinOptions> = {}): SpinOptions => ({ ...spin.options.parse({}), ...some });

/** Demonstrations of four tokens, each prompt its own state. */
function demonstrations(count: number): TokenRow[] {
  return Array.from({ length: count }, (_, i) => ({
    id: `row ${i}`,
    prompt_ids: [100 + i],
    response_ids: [i % VOCAB, 1, 2, 3],
  }));
}

/** A policy that is not uniform, so that a wrong reference shows. */
function trainer(): TabularTrainer {
  return new TabularTrainer({
    vocab: VOCAB,
    start: (context) => Array.from({ length: VOCAB }, (_, token) => Math.sin(context.length * 3 + token * 2)),
  });
}

async function runIrft(rows: readonly TokenRow[], settings: IrftOptions, context: ContextOptions = {}) {
  const engine = trainer();
  const seen = methodContext(engine, rows, { generation, ...context });
  await irft.run(seen, settings);
  return { engine, context: seen, steps: stepRecords(seen) };
}

function pairsOf(batch: UpdateBatch | undefined): readonly PairRow[] {
  return batch && 'pairs' in batch ? batch.pairs : [];
}

function assertSameTable(actual: Table, expected: Table, tolerance: number): void {
  assert.deepEqual([...actual.keys()].sort(), [...expected.keys()].sort());
  for (const [context, values] of expected) {
    for (const [token, value] of values.entries())
      assert.ok(Math.abs((actual.get(context)?.[token] ?? Number.NaN) - value) < tolerance, context);
  }
}

/** Runs work at each update, before it. */
function beforeUpdates(engine: TabularTrainer, work: (batch: UpdateBatch) => void): void {
  const update = engine.update.bind(engine);
  engine.update = (batch, step) => {
    work(batch);
    return update(batch, step);
  };
}

suite('irft: the first step of a round', (test) => {
  for (const loss of ['logistic', 'hinge', 'linear'] as const) {
    test(`${loss}: margin 0 and the loss of margin 0, in every round`, async () => {
      const { steps } = await runIrft(demonstrations(24), options({ loss }), { train: { batch_size: 4 } });
      const firsts = steps.filter((step, i) => i === 0 || step.round !== steps[i - 1]?.round);
      assert.equal(firsts.length, 3);
      for (const first of firsts) {
        assert.ok(Math.abs(first['rewards/margins'] ?? 1) < 1e-5);
        assert.ok(Math.abs((first.loss ?? 9) - { logistic: Math.log(2), hinge: 1, linear: 0 }[loss]) < 1e-5);
      }
      const others = steps.filter((step) => !firsts.includes(step));
      assert.ok(others.length > 0);
    });
  }

  test('later steps leave ln 2: something is learnt', async () => {
    const { steps } = await runIrft(demonstrations(8), options({ rounds: 1 }), { train: { epochs: 20 } });
    assert.ok((steps.at(-1)?.loss ?? 1) < 0.6);
    assert.ok((steps.at(-1)?.['rewards/accuracies'] ?? 0) === 1);
  });

  test('its gradient is −β/2·(∇log π(y) − ∇log π(ỹ)), the mean over pairs', async () => {
    const engine = trainer();
    const expected: Table[] = [];
    const gradients: Table[] = [];
    beforeUpdates(engine, (batch) => {
      gradients.push(engine.lastGradient);
      const table: Table = new Map();
      for (const { prompt_ids, real_ids, generated_ids } of pairsOf(batch)) {
        engine.addGradient(table, prompt_ids, real_ids, -0.3 / 2 / pairsOf(batch).length);
        engine.addGradient(table, prompt_ids, generated_ids, 0.3 / 2 / pairsOf(batch).length);
      }
      expected.push(table);
    });
    await irft.run(methodContext(engine, demonstrations(24), { generation, train: { batch_size: 8 } }), options());
    gradients.push(engine.lastGradient);
    assert.equal(expected.length, 3); // one step a round
    for (const [round, table] of expected.entries()) assertSameTable(gradients[round + 1] ?? new Map(), table, 1e-6);
  });

  test('nll_weight adds that much of the SFT loss on y', async () => {
    const rows = demonstrations(4);
    const { engine, steps } = await runIrft(rows, options({ rounds: 1, nll_weight: 2 }), { train: { epochs: 1 } });
    const fresh = trainer();
    const pairs = pairsOf(engine.batches[0]);
    const tokens = pairs.reduce((sum, pair) => sum + pair.real_ids.length, 0);
    const nll = -pairs.reduce((sum, pair) => sum + fresh.logprob(pair.prompt_ids, pair.real_ids), 0) / tokens;
    assert.ok(Math.abs((steps[0]?.loss ?? 0) - (Math.log(2) + 2 * nll)) < 1e-5);
  });
});

suite('irft: the reference', (test) => {
  test('previous: ỹ is never scored, only y, once a round and before its first update', async () => {
    const { engine } = await runIrft(demonstrations(8), options({ rounds: 2 }));
    assert.deepEqual(engine.calls, [
      'generate 4',
      'score 4',
      'resetOptimizer',
      'update',
      'generate 4',
      'score 4',
      'resetOptimizer',
      'update',
    ]);
  });

  test('initial: the margin at the start of round 1 is that of a fresh computation with two models, and not 0', async () => {
    const engine = trainer();
    const initial = trainer();
    const margins: number[] = [];
    beforeUpdates(engine, (batch) => {
      const gains = pairsOf(batch).map(({ prompt_ids, real_ids, generated_ids }) => {
        const gain = (ids: typeof real_ids) => engine.logprob(prompt_ids, ids) - initial.logprob(prompt_ids, ids);
        return 0.3 * (gain(real_ids) - gain(generated_ids));
      });
      margins.push(gains.reduce((sum, gain) => sum + gain, 0) / gains.length);
    });
    const rows = Array.from({ length: 8 }, (_, i) => ({ id: `${i}`, prompt_ids: [1], response_ids: [i % 2, 1, 2, 3] }));
    const context = methodContext(engine, rows, { generation, train: { epochs: 2 } });
    await irft.run(context, options({ rounds: 2, reference: 'initial', chunks: 'all' }));
    const steps = stepRecords(context);
    assert.deepEqual(
      engine.calls.filter((call) => call.includes('weights')),
      ['initial weights', 'score 16 with other weights'],
    );
    for (const [i, step] of steps.entries())
      assert.ok(Math.abs((step['rewards/margins'] ?? 9) - (margins[i] ?? 0)) < 1e-5);
    const first = steps.find((step) => step.round === 1);
    assert.ok(Math.abs(first?.['rewards/margins'] ?? 0) > 0.01);
    assert.ok(Math.abs(steps[0]?.['rewards/margins'] ?? 1) < 1e-5);
  });

  test('an answer that was changed after sampling is scored, not taken from the sampler', async () => {
    const fitPair: ContextOptions['fitPair'] = (row, { response_ids }) => ({
      prompt_ids: row.prompt_ids,
      real_ids: row.response_ids,
      generated_ids: [...response_ids, 4],
      as_sampled: false,
    });
    const { engine, steps } = await runIrft(demonstrations(4), options({ rounds: 1 }), { fitPair });
    assert.ok(engine.calls.includes('score 8'));
    assert.ok(Math.abs(steps[0]?.['rewards/margins'] ?? 1) < 1e-5);
  });

  test('an answer that was cut has the sampler logprob of what is left', async () => {
    const fitPair: ContextOptions['fitPair'] = (row, { response_ids }) => ({
      prompt_ids: row.prompt_ids,
      real_ids: row.response_ids,
      generated_ids: response_ids.slice(0, 2),
      as_sampled: true,
    });
    const { engine, steps } = await runIrft(demonstrations(4), options({ rounds: 1 }), { fitPair });
    assert.ok(engine.calls.includes('score 4'));
    assert.ok(Math.abs(steps[0]?.['rewards/margins'] ?? 1) < 1e-5);
  });
});

suite('irft: rounds', (test) => {
  test('disjoint chunks: each demonstration in one round, the order is the seed’s', async () => {
    const idsOfRounds = async (settings: Partial<IrftOptions>, context: ContextOptions = {}) => {
      const { context: seen } = await runIrft(demonstrations(12), options(settings), context);
      return [...seen.written.values()].map((rows) => rows.map((row) => row.id));
    };
    const rounds = await idsOfRounds({});
    assert.deepEqual(
      rounds.map((ids) => ids.length),
      [4, 4, 4],
    );
    assert.equal(new Set(rounds.flat()).size, 12);
    assert.deepEqual(await idsOfRounds({}), rounds);
    assert.notDeepEqual(await idsOfRounds({}, { seed: 8 }), rounds);
    assert.deepEqual((await idsOfRounds({}, { shuffle: false }))[0], ['row 0', 'row 1', 'row 2', 'row 3']);
    assert.deepEqual(
      (await idsOfRounds({ chunks: 'all' })).map((ids) => new Set(ids).size),
      [12, 12, 12],
    );
  });

  test('each round samples with a seed of its own', async () => {
    const { engine } = await runIrft(demonstrations(12), options());
    assert.equal(new Set(engine.generateSeeds).size, 3);
  });

  test('steps_per_round goes on over further epochs, and samples no answer that no step can reach', async () => {
    const long = await runIrft(demonstrations(8), options({ rounds: 2, steps_per_round: 5 }), {
      train: { batch_size: 2 },
    });
    assert.deepEqual(
      long.steps.map((step) => step.round),
      [0, 0, 0, 0, 0, 1, 1, 1, 1, 1],
    );
    assert.equal(long.steps[4]?.epoch, 2.5);
    const short = await runIrft(demonstrations(8), options({ rounds: 2, steps_per_round: 1, chunks: 'all' }), {
      train: { batch_size: 2 },
    });
    assert.deepEqual(
      short.engine.calls.filter((call) => call.startsWith('generate')),
      ['generate 2', 'generate 2'],
    );
  });

  test('restart: afresh each round, or one schedule and one optimiser for the run', async () => {
    const train = { epochs: 2, schedule: { name: 'linear', warmup_ratio: 0, warmup_steps: null } } as const;
    const afresh = await runIrft(demonstrations(16), options({ rounds: 2 }), { train });
    assert.deepEqual(afresh.engine.learningRates, [0.5, 0.375, 0.25, 0.125, 0.5, 0.375, 0.25, 0.125]);
    assert.equal(afresh.engine.calls.filter((call) => call === 'resetOptimizer').length, 2);
    const never = await runIrft(demonstrations(16), options({ rounds: 2, restart: 'never' }), { train });
    assert.deepEqual(
      never.engine.learningRates,
      [8, 7, 6, 5, 4, 3, 2, 1].map((share) => share / 16),
    );
    assert.equal(never.engine.calls.filter((call) => call === 'resetOptimizer').length, 1);
  });

  test('rounds that would be nothing but the start of a warm-up are refused', async () => {
    const train = { schedule: { name: 'linear', warmup_ratio: 0.1, warmup_steps: null } } as const;
    await assert.rejects(
      () => runIrft(demonstrations(4), options({ rounds: 1, steps_per_round: 1 }), { train }),
      (error) => {
        assert.ok(
          error instanceof GleanerError &&
            error.code === 'ERR_GLEANER_RECIPE' &&
            error.hint?.includes('irft.restart: never'),
        );
        return true;
      },
    );
    await runIrft(demonstrations(4), options({ rounds: 4, steps_per_round: 1, restart: 'never' }), { train });
  });

  test('max_steps counts the whole run', async () => {
    const { steps } = await runIrft(demonstrations(16), options({ rounds: 2 }), {
      train: { batch_size: 2, max_steps: 5 },
    });
    assert.deepEqual(
      steps.map((step) => step.round),
      [0, 0, 0, 0, 1],
    );
  });

  test('pairs with y = ỹ are dropped, counted and said; a round without pairs goes by', async () => {
    const copies = new Set(['row 0', 'row 3']);
    const fitPair: ContextOptions['fitPair'] = (row, { response_ids }) => ({
      prompt_ids: row.prompt_ids,
      real_ids: row.response_ids,
      generated_ids: copies.has(row.id) ? row.response_ids : response_ids,
      as_sampled: true,
    });
    const { engine, context } = await runIrft(demonstrations(6), options({ rounds: 1 }), { fitPair });
    const trained = engine.batches.flatMap((batch) => pairsOf(batch).map((pair) => pair.id));
    assert.deepEqual(trained.sort(), ['row 1', 'row 2', 'row 4', 'row 5']);
    assert.equal(context.records.find((record) => 'pairs/identical' in record)?.['pairs/identical'], 2);
    assert.ok(context.said.some((line) => line.includes('2 pairs dropped')));
    assert.equal(context.written.get(0)?.length, 6);

    for (const id of demonstrations(6).map((row) => row.id)) copies.add(id);
    const none = await runIrft(demonstrations(6), options({ rounds: 2 }), { fitPair });
    assert.equal(none.steps.length, 0);
    assert.ok(none.context.said.some((line) => line.startsWith('warning: round 0: no pair')));
  });

  test('a pair without room for an answer is left out and counted', async () => {
    const fitPair: ContextOptions['fitPair'] = (row) => ({
      prompt_ids: row.prompt_ids,
      real_ids: row.response_ids,
      generated_ids: [],
      as_sampled: true,
    });
    const { context, steps } = await runIrft(demonstrations(4), options({ rounds: 1 }), { fitPair });
    assert.equal(steps.length, 0);
    assert.equal(context.records.find((record) => 'pairs/empty' in record)?.['pairs/empty'], 4);
  });
});

suite('irft: on-line mode', (test) => {
  test('rate 1: every batch is sampled anew; the reference stays the round’s', async () => {
    const engine = trainer();
    const round = trainer();
    const markRound = engine.markRound.bind(engine);
    engine.markRound = () => {
      round.table = new Map(engine.table);
      return markRound();
    };
    let checked = 0;
    beforeUpdates(engine, (batch) => {
      for (const pair of pairsOf(batch)) {
        assert.ok(Math.abs(pair.ref_real - round.logprob(pair.prompt_ids, pair.real_ids)) < 1e-5);
        assert.ok(Math.abs(pair.ref_generated - round.logprob(pair.prompt_ids, pair.generated_ids)) < 1e-5);
        ++checked;
      }
    });
    const context = methodContext(engine, demonstrations(8), { generation, train: { epochs: 3 } });
    await irft.run(context, options({ rounds: 2, generation_rate: 1 }));
    assert.ok(checked >= 20);
    assert.equal(engine.calls.filter((call) => call.startsWith('generate')).length, 2 + 6);
    assert.equal(engine.calls.filter((call) => call === 'markRound').length, 2);
    assert.equal(new Set(engine.generateSeeds).size, 8);
  });

  test('rate 0.5: some batches, the same ones for the same seed', async () => {
    const counts = async () =>
      (
        await runIrft(demonstrations(4), options({ rounds: 1, generation_rate: 0.5 }), { train: { epochs: 40 } })
      ).engine.calls.filter((call) => call.startsWith('generate')).length;
    const count = await counts();
    assert.ok(count > 8 && count < 34, `${count}`);
    assert.equal(await counts(), count);
  });

  test('off: no round is marked', async () => {
    const { engine } = await runIrft(demonstrations(4), options({ rounds: 2 }));
    assert.ok(!engine.calls.includes('markRound'));
  });
});

suite('spin', (test) => {
  async function runSpin(settings: SpinOptions, context: ContextOptions = {}) {
    const engine = trainer();
    const seen = methodContext(engine, demonstrations(6), { generation, ...context });
    await spin.run(seen, settings);
    return { engine, steps: stepRecords(seen) };
  }

  test('all prompts in each iteration; earlier pairs are mixed in with today’s reference', async () => {
    const engine = trainer();
    const start = trainer();
    const sizes: number[] = [];
    let round = '';
    beforeUpdates(engine, (batch) => {
      if (engine.calls.at(-1) === 'resetOptimizer') start.table = new Map(engine.table);
      round = `${engine.calls.filter((call) => call.startsWith('generate')).length - 1}`;
      sizes[Number(round)] = (sizes[Number(round)] ?? 0) + pairsOf(batch).length;
      for (const pair of pairsOf(batch)) {
        assert.ok(Math.abs(pair.ref_real - start.logprob(pair.prompt_ids, pair.real_ids)) < 1e-5);
        assert.ok(Math.abs(pair.ref_generated - start.logprob(pair.prompt_ids, pair.generated_ids)) < 1e-5);
      }
    });
    await spin.run(
      methodContext(engine, demonstrations(6), { generation }),
      spinOptions({ iterations: 3, mix_previous: 1 }),
    );
    assert.deepEqual(sizes, [6, 12, 12]);
    assert.deepEqual(
      engine.calls.filter((call) => call.startsWith('score')),
      ['score 6', 'score 12', 'score 6', 'score 12', 'score 6'],
    );
  });

  test('β and learning rate by iteration', async () => {
    const { engine } = await runSpin(
      spinOptions({ iterations: 2, beta: [0.1, 5], learning_rate: [0.4, 0.2], mix_previous: 0 }),
      { train: { batch_size: 6 } },
    );
    assert.deepEqual(
      engine.batches.map((batch) => 'pairs' in batch && batch.objective.beta),
      [0.1, 5],
    );
    assert.deepEqual(engine.learningRates, [0.4, 0.2]);
    await assert.rejects(() => runSpin(spinOptions({ iterations: 3, beta: [0.1, 5] })), {
      code: 'ERR_GLEANER_RECIPE',
      message: /spin.beta has 2 values for 3 iterations/,
    });
  });

  test('one iteration is IRFT with T = 1', async () => {
    const { steps } = await runSpin(spinOptions({ iterations: 1, beta: 0.3 }));
    const other = await runIrft(demonstrations(6), options({ rounds: 1 }));
    assert.deepEqual(steps, other.steps);
  });

  test('the plan counts mixed pairs', () => {
    const train = methodContext(trainer(), []).train;
    assert.deepEqual(spin.plan({ numRows: 6, train }, spinOptions({ iterations: 2 })), [
      { rows: 6, generations: 6, steps: 2 },
      { rows: 6, generations: 6, steps: 3 },
    ]);
  });
});
