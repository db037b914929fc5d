// Bit-identical whatever the threads, the activations' policy and the run; between instruction sets the same numbers.

import assert from 'node:assert/strict';
import type { Engine } from '../../src/engine/engine.js';
import { llamaConfig, neoxConfig } from '../models/tiny_folder.js';
import {
  assertSameBits,
  assertSimilar,
  presentIsas,
  trainingOptions,
  withGolden,
  withRandom,
} from '../support/engines.js';
import { batches } from '../support/forests.js';
import { assertClose, suite } from '../support/suite.js';

const families = ['neox-parallel', 'neox-sequential', 'llama-gqa', 'llama-tied-linear', 'mistral-window'] as const;

suite('the same bits', (test) => {
  test('1, 2 and 3 threads, on every instruction set; and between instruction sets the same numbers', async () => {
    const isas = await presentIsas();
    const measured = new Map<string, Awaited<ReturnType<typeof measure>>>();
    const measure = (isa: (typeof isas)[number], threads: number) =>
      withGolden('llama-gqa', { isa, threads }, async (engine) => {
        await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 260 });
        const sft = await engine.gradients(batches.sft);
        const pair = await engine.gradients(batches.pair);
        await engine.update(batches.sft, { learning_rate: 1e-3, max_grad_norm: 1 });
        return {
          losses: [sft.result.loss, pair.result.loss],
          sft: sft.gradients,
          pair: pair.gradients,
          weights: await engine.readTensors(),
        };
      });
    for (const isa of isas) {
      const wanted = await measure(isa, 1);
      measured.set(isa, wanted);
      for (const threads of [2, 3]) {
        const found = await measure(isa, threads);
        assert.deepEqual(found.losses, wanted.losses);
        for (const part of ['sft', 'pair', 'weights'] as const) assertSameBits(found[part], wanted[part]);
      }
    }
    const [first, ...others] = measured.values();
    assert.ok(first);
    for (const other of others) {
      assertClose(other.losses, first.losses, 0, { relative: 1e-6 });
      assertSimilar(other.sft, first.sft, 1e-5);
      assertSimilar(other.pair, first.pair, 1e-5);
    }
  });

  // Layers that recompute share their memory: with two layers, one of them last, there is nobody to share with.
  const deep = { num_hidden_layers: 4, vocab_size: 96, max_position_embeddings: 256, initializer_range: 0.3 };
  const models: [string, <T>(work: (engine: Engine) => Promise<T>) => Promise<T>][] = [
    ...families.map((name): (typeof models)[number] => [name, (work) => withGolden(name, {}, work)]),
    ['llama of four layers', (work) => withRandom({ ...llamaConfig, ...deep }, {}, work)],
    ['neox of four layers', (work) => withRandom({ ...neoxConfig, ...deep }, {}, work)],
  ];
  for (const [name, withModel] of models) {
    test(`${name}: activations kept and recomputed`, async () => {
      const measure = (activations: 'keep' | 'recompute') =>
        withModel(async (engine) => {
          await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 260, activations });
          const sft = await engine.gradients(batches.sft);
          const pair = await engine.gradients(batches.pair);
          return { losses: [sft.result.loss, pair.result.loss], sft: sft.gradients, pair: pair.gradients };
        });
      const [kept, again] = [await measure('keep'), await measure('recompute')];
      assert.deepEqual(again.losses, kept.losses);
      assertSameBits(again.sft, kept.sft);
      assertSameBits(again.pair, kept.pair);
    });
  }

  test('a second run of the same work', async () => {
    const measure = () =>
      withGolden('mistral-window', {}, async (engine) => {
        await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 260 });
        for (let step = 0; step < 3; ++step)
          await engine.update(batches.pair, { learning_rate: 1e-3, max_grad_norm: 1 });
        return engine.readTensors();
      });
    assertSameBits(await measure(), await measure());
  });
});
