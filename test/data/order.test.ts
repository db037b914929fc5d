// The order in which rows are taken: a permutation at every size and split, the same from wherever it is entered, and kind to files.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { type OrderKey, permutation, RowOrder, WINDOW_ROWS } from '../../src/data/stream/order.js';
import { batchRows } from '../../src/data/stream/row_source.js';
import { suite } from '../support/suite.js';

const key = (batch_rows: readonly number[], more: Partial<OrderKey> = {}): OrderKey => ({
  seed: 3,
  purpose: 'batches',
  stream: [1, 2],
  batch_rows,
  shuffle: true,
  ...more,
});
const whole = (order: RowOrder) => order.slice(0, order.length);
const sum = (sizes: readonly number[]) => sizes.reduce((total, rows) => total + rows, 0);

function assertPermutation(rows: Uint32Array, length: number): void {
  assert.equal(rows.length, length);
  assert.deepEqual(
    rows.slice().sort(),
    Uint32Array.from({ length }, (_, row) => row),
  );
}

/** Few rows, and sizes around a window's; batches may be empty. */
const splits = fc.oneof(
  fc.array(fc.nat({ max: 50 }), { maxLength: 20 }),
  fc.array(fc.constantFrom(0, 1, 1000, 1024, 5000, WINDOW_ROWS - 1, WINDOW_ROWS, WINDOW_ROWS + 1, 40_000), {
    maxLength: 4,
  }),
);

suite('row order', (test) => {
  test('is a permutation at every size and batch split', () =>
    fc.assert(
      fc.property(splits, (sizes) => {
        const order = new RowOrder(key(sizes));
        assert.equal(order.length, sum(sizes));
        assertPermutation(whole(order), sum(sizes));
      }),
      { seed: 11, numRuns: 25 },
    ));

  test('of one window is the plain permutation, however the batches lie', () =>
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 900 }), { maxLength: 18 }), (sizes) => {
        const { seed, purpose, stream } = key([]);
        const length = sum(sizes);
        assert.deepEqual(whole(new RowOrder(key(sizes))), permutation({ seed, purpose, stream, length }));
      }),
      { seed: 12, numRuns: 40 },
    ));

  test('at the edge of one window, and one row beyond', () => {
    const { seed, purpose, stream } = key([]);
    const edge = batchRows(WINDOW_ROWS);
    assert.deepEqual(whole(new RowOrder(key(edge))), permutation({ seed, purpose, stream, length: WINDOW_ROWS }));
    const beyond = new RowOrder(key(batchRows(WINDOW_ROWS + 1)));
    assert.notDeepEqual(
      whole(beyond),
      permutation({ seed, purpose, stream, length: WINDOW_ROWS + 1 }),
      'more than a window is shuffled by batches first',
    );
    assertPermutation(whole(beyond), WINDOW_ROWS + 1);
  });

  test('any slice is that slice of the whole, entered anywhere and in any sequence', () => {
    const sizes = batchRows(70_001);
    const rows = whole(new RowOrder(key(sizes)));
    const entered = new RowOrder(key(sizes));
    fc.assert(
      fc.property(fc.nat({ max: 70_100 }), fc.nat({ max: 20_000 }), fc.boolean(), (begin, length, fresh) => {
        const order = fresh ? new RowOrder(key(sizes)) : entered;
        assert.deepEqual(order.slice(begin, begin + length), rows.slice(begin, begin + length));
      }),
      { seed: 13, numRuns: 20 },
    );
    assert.equal(entered.slice(70_001, 70_010).length, 0);
    assert.equal(entered.slice(10, 5).length, 0);
  });

  test('each seed, purpose and stream has an order of its own', () => {
    const sizes = batchRows(40_000);
    const orders = [
      key(sizes),
      key(sizes, { seed: 4 }),
      key(sizes, { purpose: 'rows' }),
      key(sizes, { stream: [1, 3] }),
    ].map((one) => whole(new RowOrder(one)));
    const texts = new Set(orders.map((rows) => rows.slice(0, 1000).join()));
    assert.equal(texts.size, orders.length);
    assert.deepEqual(whole(new RowOrder(key(sizes))), orders[0]);
  });

  test('any 16,384 places in a row touch no more than three windows’ batches', () => {
    const sizes = batchRows(1_000_000);
    const order = new RowOrder(key(sizes));
    const perWindow = WINDOW_ROWS / 1024;
    for (const begin of [0, 1, 5000, 16_383, 123_456, 900_000, order.length - WINDOW_ROWS]) {
      const batches = new Set(order.slice(begin, begin + WINDOW_ROWS).map((row) => Math.floor(row / 1024)));
      assert.ok(batches.size <= 3 * perWindow, `${batches.size} batches from place ${begin}`);
      if (begin % WINDOW_ROWS === 0 && begin === 0) assert.equal(batches.size, perWindow);
    }
    // Batches of other sizes: an HF data set has 1,000 rows in each.
    const other = new RowOrder(key(Array.from({ length: 500 }, () => 1000)));
    const touched = new Set(other.slice(77_777, 77_777 + WINDOW_ROWS).map((row) => Math.floor(row / 1000)));
    assert.ok(touched.size <= 48, `${touched.size} batches`);
  });

  test('mixes well: windows hold batches of the whole file, rows move far inside of theirs', () => {
    const order = new RowOrder(key(batchRows(200_000)));
    const rows = order.slice(0, WINDOW_ROWS);
    const spread = Math.max(...rows) - Math.min(...rows);
    assert.ok(spread > 120_000, `the first window spans ${spread} rows`);
    const neighbours = rows.slice(1).filter((row, place) => row === (rows[place] ?? -2) + 1).length;
    assert.ok(neighbours < 20, `${neighbours} rows follow their neighbour of the file`);
  });

  test('without shuffling it is the order of the files', () => {
    const order = new RowOrder(key(batchRows(5000), { shuffle: false }));
    assert.deepEqual([...order.slice(4990, 6000)], [4990, 4991, 4992, 4993, 4994, 4995, 4996, 4997, 4998, 4999]);
    assert.equal(order.slice(6000, 7000).length, 0);
  });

  test('who reads ahead over a window’s end does not shuffle it again and again', () => {
    const order = new RowOrder(key(batchRows(60_000)));
    const start = performance.now();
    order.slice(WINDOW_ROWS - 10, WINDOW_ROWS + 10);
    const once = performance.now() - start;
    const again = performance.now();
    for (let time = 0; time < 50; ++time) {
      order.slice(WINDOW_ROWS - 10, WINDOW_ROWS - 2);
      order.slice(WINDOW_ROWS + 2, WINDOW_ROWS + 10);
    }
    assert.ok(performance.now() - again < Math.max(50, 5 * once));
  });

  test('no rows', () => {
    assert.equal(whole(new RowOrder(key([]))).length, 0);
    assert.equal(whole(new RowOrder(key([0, 0]))).length, 0);
  });
});
