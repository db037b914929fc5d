// Known-answer vectors of Random123 (kat_vectors, philox4x32 10), the same as test/native/base/philox_test.cc, and what is made of the words.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { philox4x32, randomUnit, randomWords, seedFor } from '../../src/common/philox.js';
import { suite } from '../support/suite.js';

suite('philox', (test) => {
  const ones = 0xffffffff;
  const vectors = [
    { counter: [0, 0, 0, 0], key: [0, 0], words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8] },
    { counter: [ones, ones, ones, ones], key: [ones, ones], words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd] },
    {
      counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      key: [0xa4093822, 0x299f31d0],
      words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    },
  ] as const;
  for (const { counter, key, words } of vectors) {
    test(`${words[0].toString(16)} …`, () => assert.deepEqual(philox4x32(counter, key), words));
  }

  test('the 64-bit products are exact (against BigInt)', () => {
    const word = fc.integer({ min: 0, max: ones });
    fc.assert(
      fc.property(word, word, word, word, word, word, (c0, c1, c2, c3, k0, k1) => {
        let [counter, key] = [[c0, c1, c2, c3].map(BigInt), [k0, k1].map(BigInt)];
        for (let round = 0; round < 10; ++round) {
          const [a = 0n, b = 0n, c = 0n, d = 0n] = counter;
          const [x, y] = [0xd2511f53n * a, 0xcd9e8d57n * c];
          const [k = 0n, l = 0n] = key;
          counter = [(y >> 32n) ^ b ^ k, y & 0xffffffffn, (x >> 32n) ^ d ^ l, x & 0xffffffffn];
          key = [(k + 0x9e3779b9n) & 0xffffffffn, (l + 0xbb67ae85n) & 0xffffffffn];
        }
        assert.deepEqual(philox4x32([c0, c1, c2, c3], [k0, k1]), counter.map(Number));
      }),
      { seed: 7, numRuns: 300 },
    );
  });
});

suite('streams', (test) => {
  test('seed, purpose, every part of the stream, its length and the counter each give other words', () => {
    const words = [
      randomWords(1, 'chunks', [0, 0]),
      randomWords(2, 'chunks', [0, 0]),
      randomWords(1 + 2 ** 40, 'chunks', [0, 0]),
      randomWords(1, 'batches', [0, 0]),
      randomWords(1, 'chunks', [1, 0]),
      randomWords(1, 'chunks', [0, 1]),
      randomWords(1, 'chunks', [0]),
      randomWords(1, 'chunks', [0, 0, 0]),
      randomWords(1, 'chunks', []),
      randomWords(1, 'chunks', [2 ** 40, 0]),
      randomWords(1, 'chunks', [0, 0], 1),
      randomWords(1, 'chunks', [0, 0], 2 ** 40),
    ];
    assert.equal(new Set(words.map(String)).size, words.length);
    assert.deepEqual(randomWords(1, 'chunks', [0, 0]), words[0]);
  });

  test('unit numbers lie in [0, 1), are spread evenly and use 53 bits', () => {
    const values = Array.from({ length: 20_000 }, (_, i) => randomUnit(3, 'rows', [5], i));
    assert.ok(values.every((value) => value >= 0 && value < 1 && Number.isInteger(value * 2 ** 53)));
    assert.ok(values.some((value) => (value * 2 ** 53) % 2 === 1));
    const tenths = Array.from({ length: 10 }, (_, i) => values.filter((value) => Math.floor(value * 10) === i).length);
    const chiSquare = tenths.reduce((sum, count) => sum + (count - 2000) ** 2 / 2000, 0);
    assert.ok(chiSquare < 27.9, `${tenths}`); // 9 degrees, once in a thousand
  });

  test('seeds are safe integers that parts of a run do not share', () => {
    const seeds = Array.from({ length: 1000 }, (_, i) => seedFor(9, 'round', i));
    assert.ok(seeds.every((seed) => Number.isSafeInteger(seed) && seed >= 0));
    assert.equal(new Set(seeds).size, 1000);
    assert.ok(seeds.some((seed) => seed > 2 ** 52));
  });
});
