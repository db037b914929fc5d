// Other weights for a pass: the initial ones and the round's come in and go out without a trace (design.md §3, pitfalls 5.8).

import assert from 'node:assert/strict';
import type { Engine } from '../../src/engine/engine.js';
import { llamaConfig } from '../models/tiny_folder.js';
import { assertSameBits, type Tensors, trainingOptions, withGolden, withRandom } from '../support/engines.js';
import { demonstrations } from '../support/pairs.js';
import { suite } from '../support/suite.js';

const rows = demonstrations(8);
const train = async (engine: Engine, steps: number): Promise<void> => {
  for (let i = 0; i < steps; ++i)
    await engine.update({ objective: { name: 'sft' }, rows }, { learning_rate: 1e-2, max_grad_norm: 1 });
};
const sampling = { max_new_tokens: 10, temperature: 1, top_p: 1, top_k: 0, seed: 1, eos_token_ids: [] };
/** All that a pass can show of the weights in place: they themselves, scores, samples. */
async function seen(engine: Engine) {
  const prompts = rows.map(({ prompt_ids }, sample_id) => ({ prompt_ids, sample_id }));
  return {
    weights: await engine.readTensors(),
    scores: await engine.score(rows),
    samples: await engine.generate(prompts, sampling),
  };
}
function assertSame(found: Awaited<ReturnType<typeof seen>>, wanted: Awaited<ReturnType<typeof seen>>): void {
  assertSameBits(found.weights, wanted.weights);
  assert.deepEqual(found.scores, wanted.scores);
  assert.deepEqual(found.samples, wanted.samples);
}

suite('weights brought in for a pass', (test) => {
  for (const name of [
    'llama-gqa',
    'llama-tied-linear',
    'neox-parallel',
    'llama-gqa-bf16',
    'llama-gqa-sharded',
  ] as const) {
    test(`${name}: the initial ones inside, today’s afterwards, bit by bit`, () =>
      withGolden(name, {}, async (engine) => {
        await engine.prepareTraining(trainingOptions);
        const initial = await seen(engine);
        await train(engine, 3);
        const today = await seen(engine);
        assert.notDeepEqual(today.scores, initial.scores);
        assertSame(await engine.withInitialWeights(() => seen(engine)), initial);
        assertSame(await seen(engine), today);
      }));
  }

  test('the initial weights of a random model come from its seed', () =>
    withRandom({ ...llamaConfig, vocab_size: 96, initializer_range: 0.3 }, { seed: 11 }, async (engine) => {
      const initial = await seen(engine);
      await engine.prepareTraining(trainingOptions);
      await train(engine, 2);
      assertSame(await engine.withInitialWeights(() => seen(engine)), initial);
    }));

  test('the round’s weights are those of the last markRound', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      for (let round = 0; round < 2; ++round) {
        await train(engine, 2);
        await engine.markRound();
        const marked = await seen(engine);
        await train(engine, 2);
        const today = await seen(engine);
        assertSame(await engine.withRoundWeights(() => seen(engine)), marked);
        assertSame(await seen(engine), today);
        assertSame(await engine.withRoundWeights(() => seen(engine)), marked);
      }
    }));

  test('training goes on as if nothing had been: gradients, moments and step count', async () => {
    const run = (between: (engine: Engine) => Promise<unknown>): Promise<Tensors> =>
      withGolden('neox-sequential', {}, async (engine) => {
        await engine.prepareTraining(trainingOptions);
        await train(engine, 3);
        await between(engine);
        await train(engine, 3);
        return engine.readTensors();
      });
    const wanted = await run(async () => {});
    const pass = (engine: Engine) => () => engine.score(rows);
    assertSameBits(await run((engine) => engine.withInitialWeights(pass(engine))), wanted);
    assertSameBits(await run((engine) => engine.markRound().then(() => engine.withRoundWeights(pass(engine)))), wanted);
    assertSameBits(await run((engine) => engine.gradients({ objective: { name: 'sft' }, rows })), wanted);
  });

  test('resetOptimizer begins afresh: the next steps are a new engine’s first', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const initial = await engine.readTensors();
      await train(engine, 2);
      const wanted = await engine.readTensors();
      await engine.writeTensors(initial);
      await engine.resetOptimizer();
      await train(engine, 2);
      assertSameBits(await engine.readTensors(), wanted);
      await engine.writeTensors(initial);
      await train(engine, 2);
      const kept = await engine.readTensors();
      assert.throws(() => assertSameBits(kept, wanted)); // moments that stay show
    }));
});
