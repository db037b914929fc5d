// Byte-pair encoding: heap and plain search give what the definition gives, for any merges; long pieces take no longer than their length asks.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { createBpe } from '../../src/data/tokenizer/bpe.js';
import { assertRejects, suite } from '../support/suite.js';

const letters = ['a', 'b', 'c', '▁'];

/** A model with random merges: each joins two tokens that are there already. */
const model = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 12 }).map((picks) => {
  const tokens = [...letters];
  const merges: [string, string][] = [];
  for (const [left, right] of picks) {
    const pair: [string, string] = [tokens[left % tokens.length] ?? '', tokens[right % tokens.length] ?? ''];
    if (merges.some((known) => known.join(' ') === pair.join(' '))) continue;
    merges.push(pair);
    if (!tokens.includes(pair.join(''))) tokens.push(pair.join(''));
  }
  return { type: 'BPE', vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges };
});

/** The definition, word for word. */
function definition(merges: readonly [string, string][], text: string): string[] {
  const tokens = Array.from(text);
  for (;;) {
    const places = tokens.slice(1).map((right, place) => {
      const rank = merges.findIndex(([left, other]) => left === tokens[place] && other === right);
      return rank < 0 ? Number.POSITIVE_INFINITY : rank;
    });
    const lowest = Math.min(...places, Number.POSITIVE_INFINITY);
    if (lowest === Number.POSITIVE_INFINITY) return tokens;
    const place = places.indexOf(lowest);
    tokens.splice(place, 2, `${tokens[place]}${tokens[place + 1]}`);
  }
}

const same = (piece: string) => piece;

suite('byte-pair encoding', (test) => {
  const text = (sizes: fc.StringConstraints) => fc.string({ unit: fc.constantFrom(...letters), ...sizes });
  for (const [name, sizes] of [
    ['short pieces', { maxLength: 20 }],
    ['long pieces', { minLength: 40, maxLength: 90 }],
  ] as const) {
    test(`${name}: the definition's tokens`, () =>
      fc.assert(
        fc.property(model, text(sizes), (bpe, piece) => {
          const encode = createBpe(bpe, same, 'FILE');
          const wanted = definition(bpe.merges, piece).map((token) => bpe.vocab[token]);
          assert.deepEqual(encode?.(piece), wanted);
          assert.deepEqual(encode?.(piece), wanted, 'from the cache');
        }),
        { seed: 5, numRuns: 1500 },
      ));
  }

  test('characters that are no tokens: bytes, one unknown token for several, or nothing', () => {
    const vocab = { a: 0, b: 1, ab: 2, '<unk>': 3 };
    const encode = (more: object, piece: string) =>
      createBpe({ type: 'BPE', vocab, merges: ['a b'], ...more }, same, 'FILE')?.(piece);
    assert.deepEqual(encode({}, 'axyb'), [2], 'as in Python, what stands around them joins');
    assert.deepEqual(encode({ unk_token: '<unk>' }, 'axyb'), [0, 3, 3, 1]);
    assert.deepEqual(encode({ unk_token: '<unk>', fuse_unk: true }, 'axyb'), [0, 3, 1]);
    const bytes = { '<0xC3>': 4, '<0xA9>': 5, ...vocab };
    assert.deepEqual(encode({ vocab: bytes, byte_fallback: true, unk_token: '<unk>' }, 'aéx'), [0, 4, 5, 3]);
  });

  test('a million characters of one kind take seconds at most', () => {
    const vocab = Object.fromEntries(Array.from({ length: 12 }, (_, power) => ['a'.repeat(2 ** power), power]));
    const merges = Array.from({ length: 11 }, (_, power) => ['a'.repeat(2 ** power), 'a'.repeat(2 ** power)]);
    const begun = performance.now();
    const ids = createBpe({ type: 'BPE', vocab, merges }, same, 'FILE')?.('a'.repeat(2 ** 20));
    assert.deepEqual(ids, new Array(2 ** 9).fill(11));
    assert.ok(performance.now() - begun < 20_000); // 0.5 s here; the square of the length would take hours
  });

  test('a merge of tokens that are not there is refused', () =>
    assertRejects(
      () => createBpe({ type: 'BPE', vocab: { a: 0, b: 1 }, merges: ['a b'] }, same, 'FILE'),
      'ERR_GLEANER_DATA',
      /FILE: model\.merges\[0\]: "ab" is not in model\.vocab/,
    ));
});
