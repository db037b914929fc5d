// Chunks, batches and steps of rounds, for any sizes.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MemoryRows } from '../../src/data/stream/row_source.js';
import { type BatchPlan, batches } from '../../src/methods/batches.js';
import { capRounds, chunkBounds, numSteps } from '../../src/methods/rounds.js';
import { suite } from '../support/suite.js';

suite('rounds', (test) => {
  test('disjoint chunks cover the data once, in order, with sizes that differ by one at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 200 }), (numRows, rounds) => {
        fc.pre(rounds <= numRows);
        const bounds = chunkBounds(numRows, rounds, 'disjoint');
        assert.deepEqual(
          bounds.flatMap(({ begin, end }) => Array.from({ length: end - begin }, (_, i) => begin + i)),
          [...Array(numRows).keys()],
        );
        const sizes = bounds.map(({ begin, end }) => end - begin);
        assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
      }),
      { seed: 5 },
    );
  });

  test('more disjoint rounds than rows, or no rows, are refused', () => {
    assert.throws(() => chunkBounds(3, 4, 'disjoint'), { code: 'ERR_GLEANER_RECIPE' });
    assert.throws(() => chunkBounds(0, 1, 'all'), { code: 'ERR_GLEANER_DATA' });
    assert.equal(chunkBounds(3, 4, 'all').length, 4);
  });

  test('every epoch visits each item once, in an order of its own; the last batch may be small', async () => {
    const items = [...Array(10).keys()];
    const plan = { batch_size: 4, steps: 6, begin: 0, seed: 3, round: 0, shuffle: true };
    const collect = async (some: BatchPlan) => {
      const found: { batch: number[]; epoch: number }[] = [];
      for await (const { batch, epoch } of batches(new MemoryRows(items), some, () => 0)) found.push({ batch, epoch });
      return found;
    };
    const all = await collect(plan);
    assert.deepEqual(
      all.map(({ batch }) => batch.length),
      [4, 4, 2, 4, 4, 2],
    );
    const epochs = [all.slice(0, 3), all.slice(3)].map((epoch) => epoch.flatMap(({ batch }) => batch));
    for (const epoch of epochs)
      assert.deepEqual(
        [...epoch].sort((a, b) => a - b),
        items,
      );
    assert.notDeepEqual(epochs[0], epochs[1]);
    assert.deepEqual(
      all.map(({ epoch }) => epoch),
      [0.4, 0.8, 1, 1.4, 1.8, 2],
    );
    assert.deepEqual(await collect(plan), all);
    for (let begin = 1; begin <= 6; ++begin) assert.deepEqual(await collect({ ...plan, begin }), all.slice(begin));
    assert.notDeepEqual(await collect({ ...plan, round: 1 }), all);
    assert.deepEqual(
      (await collect({ ...plan, shuffle: false })).flatMap(({ batch }) => batch),
      [...items, ...items],
    );
  });

  test('steps: whole epochs, or as many as asked for; max_steps counts the whole run', () => {
    assert.equal(numSteps(10, { batch_size: 4, epochs: 2 }, null), 6);
    assert.equal(numSteps(10, { batch_size: 4, epochs: 2 }, 17), 17);
    assert.equal(numSteps(0, { batch_size: 4, epochs: 2 }, 17), 0);
    const round = { rows: 10, generations: 10, steps: 6 };
    assert.deepEqual(
      capRounds([round, round, round], 8).map(({ steps }) => steps),
      [6, 2],
    );
    assert.deepEqual(capRounds([round, round], null), [round, round]);
  });
});
