// One denominator a step, whatever the micro-batches (pitfalls 5.1). Tolerances as in forest.test.ts: 1e-6 of the loss, 1e-5 of a tensor's norm.

import assert from 'node:assert/strict';
import { type Tree, treeOfPair, treeOfRow } from '../../src/engine/forest.js';
import {
  assertSimilar,
  joined,
  randomIds,
  randomNumbers,
  sftObjective,
  trainingOptions,
  withGolden,
} from '../support/engines.js';
import { batches, pairsOfAllLengths, rowsOfAllLengths } from '../support/forests.js';
import { assertClose, suite } from '../support/suite.js';

const GRADIENTS = 1e-5;
const LOSS = 1e-6;
/** A budget that no tree fits: each tree that is given stands alone in its micro-batch. */
const apart = { ...trainingOptions, micro_batch_tokens: 1 };

const shuffle = <T>(items: readonly T[], seed: number): T[] => {
  const random = randomNumbers(seed);
  return items
    .map((item) => ({ item, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
};
const groupsOf = <T>(items: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));

suite('one denominator a step (pitfalls 5.1)', (test) => {
  for (const [objective, batch] of Object.entries(batches)) {
    for (const name of ['neox-parallel', 'llama-gqa'] as const) {
      test(`${objective}, ${name}: 1×16, 2×8, 16×1, uneven, packed and shuffled give one loss and one gradient`, () =>
        withGolden(name, {}, async (engine) => {
          const trees = 'pairs' in batch ? batch.pairs.map(treeOfPair) : batch.rows.map(treeOfRow);
          await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 4096 });
          const wanted = await engine.gradients(batch);
          assert.equal(wanted.result.micro_batches, 1);
          const real =
            'pairs' in batch ? batch.pairs.map((pair) => pair.real_ids) : batch.rows.map((row) => row.response_ids);
          const targets = real.reduce((sum, ids) => sum + ids.length, 0);
          const native =
            'pairs' in batch
              ? { ...batch.objective, denominator: 16, nll_denominator: targets }
              : sftObjective(targets);
          const splits: [string, Tree[][]][] = [
            ['2×8', groupsOf(trees, 8)],
            ['16×1', groupsOf(trees, 1)],
            ['last window shorter', groupsOf(trees, 5)],
            ['shuffled 2×8', groupsOf(shuffle(trees, 1), 8)],
            ['shuffled 16×1', groupsOf(shuffle(trees, 2), 1)],
          ];
          await engine.prepareTraining(apart);
          for (const [what, groups] of splits) {
            const found = await engine.gradientsOfTrees(groups.map(joined), native);
            assert.equal(found.result.micro_batches, groups.length);
            assertClose(found.result.loss, wanted.result.loss, 0, { what, relative: LOSS });
            assertSimilar(found.gradients, wanted.gradients, GRADIENTS);
          }
          // Packed by a budget of tokens, as a run does it.
          for (const micro_batch_tokens of [260, 600]) {
            await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens });
            const found = await engine.gradients(batch);
            assert.ok(found.result.micro_batches > 1);
            assertClose(found.result.loss, wanted.result.loss, 0, { relative: LOSS });
            assertSimilar(found.gradients, wanted.gradients, GRADIENTS);
          }
        }));
    }

    test(`${objective}: the step itself, in one micro-batch and in many`, async () => {
      const weightsAfter = (micro_batch_tokens: number) =>
        withGolden('llama-gqa', {}, async (engine) => {
          const optimizer = { ...trainingOptions.optimizer, eps: 1e-3 }; // a tiny gradient's sign is noise
          await engine.prepareTraining({ ...trainingOptions, optimizer, micro_batch_tokens });
          const result = await engine.update(batch, { learning_rate: 1e-3, max_grad_norm: 1 });
          return { result, weights: await engine.readTensors() };
        });
      const [one, many] = [await weightsAfter(4096), await weightsAfter(260)];
      assert.equal(one.result.micro_batches, 1);
      assert.ok(many.result.micro_batches > 3);
      assertClose(many.result.loss, one.result.loss, 0, { relative: LOSS });
      assertClose(many.result.grad_norm, one.result.grad_norm, 0, { relative: GRADIENTS });
      for (const [name, values] of one.weights) assertClose(many.weights.get(name) ?? [], values, 1e-6, { what: name });
    });
  }

  test('the loss is the mean over target tokens, the pair loss the mean over pairs', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 260 });
      const rows = rowsOfAllLengths();
      const scores = await engine.score(rows);
      const nll = -scores.reduce((sum, { logprob }) => sum + logprob, 0);
      const targets = rows.reduce((sum, { response_ids }) => sum + response_ids.length, 0);
      const sft = await engine.gradients({ objective: { name: 'sft' }, rows });
      assertClose(sft.result.loss, nll / targets, 0, { relative: LOSS });
      const pairs = pairsOfAllLengths();
      const both = await engine.score([
        ...pairs.map(({ id, prompt_ids, real_ids }) => ({ id, prompt_ids, response_ids: real_ids })),
        ...pairs.map(({ id, prompt_ids, generated_ids }) => ({ id, prompt_ids, response_ids: generated_ids })),
      ]);
      const losses = pairs.map(({ ref_real, ref_generated }, i) => {
        const margin =
          0.1 * ((both[i]?.logprob ?? 0) - ref_real - ((both[pairs.length + i]?.logprob ?? 0) - ref_generated));
        return Math.log1p(Math.exp(-margin));
      });
      const pair = await engine.gradients({
        objective: { name: 'pair', loss: 'logistic', beta: 0.1, nll_weight: 0 },
        pairs,
      });
      assertClose(pair.result.loss, losses.reduce((sum, loss) => sum + loss, 0) / pairs.length, 1e-5);
    }));

  test('a micro-batch with no trained token changes nothing', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const rows = rowsOfAllLengths().slice(3, 11);
      const empty = { id: 'none', prompt_ids: randomIds(randomNumbers(1), 64), response_ids: [] };
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 64 });
      const wanted = await engine.gradients({ objective: { name: 'sft' }, rows });
      for (const place of [0, 4, 8]) {
        const withEmpty = [...rows.slice(0, place), empty, ...rows.slice(place)];
        const found = await engine.gradients({ objective: { name: 'sft' }, rows: withEmpty });
        assert.ok(found.result.micro_batches > wanted.result.micro_batches);
        assert.equal(found.result.num_targets, wanted.result.num_targets);
        assertClose(found.result.loss, wanted.result.loss, 0, { relative: LOSS });
        assertSimilar(found.gradients, wanted.gradients, GRADIENTS);
      }
    }));

  test('a pair with an empty side is the other side alone', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const pair = {
        id: 'a',
        prompt_ids: [5, 6, 7],
        real_ids: [8, 9],
        generated_ids: [],
        ref_real: -9,
        ref_generated: 0,
      };
      const objective = { name: 'pair', loss: 'linear', beta: 0.5, nll_weight: 0 } as const;
      const found = await engine.gradients({ objective, pairs: [pair] });
      const [score] = await engine.score([{ id: 'a', prompt_ids: [5, 6, 7], response_ids: [8, 9] }]);
      assertClose(found.result.loss, -0.5 * ((score?.logprob ?? 0) + 9), 1e-5);
      assert.equal(found.result.pairs?.generated_logprobs[0], 0);
    }));
});
