// A forest computes what its sequences compute alone (design.md §2), however it is packed: pitfalls 5.3.
// Tolerances: fp32 sums over two layers in another order, 1e-5 of a tensor's norm; one loss is one sum, 1e-6.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Engine } from '../../src/engine/engine.js';
import { type Tree, treeOfPair, treeOfRow } from '../../src/engine/forest.js';
import {
  assertSimilar,
  joined,
  randomIds,
  randomNumbers,
  sameBits,
  sftObjective,
  trainingOptions,
  withGolden,
} from '../support/engines.js';
import { copied, type Node, randomTree, rowsOfAllLengths, shared } from '../support/forests.js';
import { assertClose, suite } from '../support/suite.js';

const GRADIENTS = 1e-5;
const LOSS = 1e-6;
const LOGPROBS = 1e-5;
const families = ['neox-parallel', 'neox-sequential', 'llama-gqa', 'llama-tied-linear', 'mistral-window'] as const;
/** A budget that no tree fits: each tree that is given stands alone in its micro-batch. */
const apart = { ...trainingOptions, micro_batch_tokens: 1 };

async function gradientsOf(engine: Engine, trees: readonly Tree[], denominator: number) {
  return engine.gradientsOfTrees(trees, sftObjective(denominator));
}

suite('forest = stand-alone', (test) => {
  for (const name of families) {
    test(`${name}: a pair with a shared prompt = two separate sequences, loss and gradients`, () =>
      withGolden(name, {}, async (engine) => {
        await engine.prepareTraining(trainingOptions);
        const random = randomNumbers(3);
        const [prompt, real, generated] = [randomIds(random, 37), randomIds(random, 20), randomIds(random, 45)];
        const pair = {
          id: 'a',
          prompt_ids: prompt,
          real_ids: real,
          generated_ids: generated,
          ref_real: -92,
          ref_generated: -207,
        };
        const together = treeOfPair(pair);
        assert.equal(together.segments.length, 3);
        const sides = [real, generated].map((response_ids) => treeOfRow({ id: 'a', prompt_ids: prompt, response_ids }));
        const separate = { ...joined(sides), pairs: [{ real: 0, generated: 1, ref_real: -92, ref_generated: -207 }] };
        assert.equal(separate.segments.length, 2);
        const objective = {
          name: 'pair',
          loss: 'logistic',
          beta: 0.1,
          nll_weight: 0.5,
          denominator: 1,
          nll_denominator: 20,
        } as const;
        const [found, wanted] = [
          await engine.gradientsOfTrees([together], objective),
          await engine.gradientsOfTrees([separate], objective),
        ];
        assertClose(found.result.loss, wanted.result.loss, 0, { relative: LOSS });
        assertSimilar(found.gradients, wanted.gradients, GRADIENTS);
      }));

    test(`${name}: a tree of depth 3 = its paths alone`, () =>
      withGolden(name, {}, async (engine) => {
        await engine.prepareTraining(trainingOptions);
        const random = randomNumbers(4);
        const node = (parent: number, length: number): Node => ({
          parent,
          ids: randomIds(random, length),
          targets: randomIds(random, length),
          before: parent < 0 ? [] : randomIds(random, 1),
        });
        const nodes = [node(-1, 20), node(0, 7), node(1, 1), node(1, 33), node(0, 17), node(4, 12)];
        const targets = nodes.reduce((sum, { targets: own, before }) => sum + own.length + before.length, 0);
        const [found, wanted] = [
          await gradientsOf(engine, [shared(nodes)], targets),
          await gradientsOf(engine, copied(nodes), targets),
        ];
        assertClose(found.result.loss, wanted.result.loss, 0, { relative: LOSS });
        assertSimilar(found.gradients, wanted.gradients, GRADIENTS);
      }));
  }

  test('any forest, any packing: logprobs, loss and gradients (property)', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const property = fc.asyncProperty(
        fc.nat(),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 400 }),
        async (seed, count, budget) => {
          const random = randomNumbers(seed);
          const forest = Array.from({ length: count }, () => randomTree(random, 1 + Math.floor(random() * 6), 24));
          const targets = forest.flat().reduce((sum, node) => sum + node.targets.length + node.before.length, 0);
          fc.pre(targets > 0);
          await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: budget });
          const found = await gradientsOf(engine, forest.map(shared), targets);
          const scores = await engine.scoreTrees(forest.map(shared));
          await engine.prepareTraining(apart);
          const wanted = await gradientsOf(engine, forest.flatMap(copied), targets);
          const alone = await engine.scoreTrees(forest.flatMap(copied));
          assertClose(found.result.loss, wanted.result.loss, 0, { relative: LOSS });
          assertSimilar(found.gradients, wanted.gradients, GRADIENTS);
          for (const [i, { logprobs }] of alone.entries()) assertClose(scores[i]?.logprobs ?? [], logprobs, LOGPROBS);
        },
      );
      await fc.assert(property, { seed: 7, numRuns: 60 });
    }));

  test('perturbing one segment leaves the others bit-identical: logprobs, and the gradients of their inputs', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      // Each segment has ids of its own, so a row of the embedding's gradient belongs to one segment.
      const random = randomNumbers(5);
      const lengths = [20, 9, 31, 1, 14];
      const parents = [-1, 0, 0, -1, 3];
      const idsOf = (segment: number) => randomIds(random, lengths[segment] ?? 0, 19, 19 * segment);
      const nodes = lengths.map((_, i): Node => {
        const ids = idsOf(i);
        return { parent: parents[i] ?? -1, ids, targets: randomIds(random, ids.length), before: [] };
      });
      await engine.prepareTraining(trainingOptions);
      const measure = async (forest: readonly Node[]) => {
        const tree = shared(forest);
        const { gradients } = await gradientsOf(engine, [tree], 100);
        const embedding = gradients.get('model.embed_tokens.weight') ?? new Float32Array();
        const rows = lengths.map((_, i) =>
          embedding.slice(19 * i * engine.spec.hidden, 19 * (i + 1) * engine.spec.hidden),
        );
        return { logprobs: (await engine.scoreTrees([tree])).map(({ logprobs }) => logprobs), rows };
      };
      const before = await measure(nodes);
      // Segment → those that it has nothing to do with.
      const unrelated: [number, number[]][] = [
        [1, [2, 3, 4]],
        [2, [1, 3, 4]],
        [4, [0, 1, 2]],
        [0, [3, 4]],
        [3, [0, 1, 2]],
      ];
      for (const [moved, others] of unrelated) {
        const changed = nodes.map((node, i) => (i === moved ? { ...node, ids: idsOf(i) } : node));
        const after = await measure(changed);
        assert.ok(!sameBits(after.logprobs[moved], before.logprobs[moved] ?? new Float32Array()), `${moved} changes`);
        for (const other of others) {
          assert.ok(
            sameBits(after.logprobs[other], before.logprobs[other] ?? new Float32Array()),
            `logprobs of ${other}`,
          );
          // An ancestor's gradient holds its children's; of two that share none, each keeps its own.
          if (parents[moved] === other) continue;
          assert.ok(
            sameBits(after.rows[other], before.rows[other] ?? new Float32Array()),
            `input gradients of ${other}`,
          );
        }
      }
    }));

  test('a segment alone and amid others has the same bits', () =>
    withGolden('neox-parallel', {}, async (engine) => {
      const rows = rowsOfAllLengths();
      const together = await engine.scoreTrees([joined(rows.map(treeOfRow))]);
      for (const [i, row] of rows.entries()) {
        const [alone] = await engine.scoreTrees([treeOfRow(row)]);
        assert.ok(sameBits(together[i]?.logprobs, alone?.logprobs ?? new Float32Array()), `row ${i}`);
      }
    }));
});
