// Pairs: by default ỹ is what was sampled, id for id; under paper_compat they are those of the released code's collator.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Row } from '../../src/data/rows.js';
import { RowTokenizer, type TokenizeSettings } from '../../src/data/tokenize.js';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import type { Context } from '../../src/methods/method.js';
import { sharedData, suite } from '../support/suite.js';
import { readTokenization } from './golden.js';

const golden = readTokenization();
const data = sharedData();
const settings: TokenizeSettings = {
  template: 'auto',
  bos: 'auto',
  max_length: 32,
  max_prompt_length: 8,
  max_new_tokens: 12,
  eos_token_id: 2,
  vocab: 2 ** 20,
  paper_compat: false,
};
/** It is what a Context asks for. */
const fitWith =
  (rows: RowTokenizer): Context['fitPair'] =>
  (row, generated) =>
    rows.fitPair(row, generated);
const generated = (ids: readonly number[], finish_reason: 'eos' | 'stop' | 'length' = 'length') => ({
  response_ids: Int32Array.from(ids),
  finish_reason,
  token_logprobs: new Float32Array(ids.length),
  full_logprobs: new Float32Array(ids.length),
  logprob: 0,
});

suite('pairs', (test) => {
  test('ỹ is trained as it was sampled: EOS only where the policy sampled it', () => {
    const fit = fitWith(new RowTokenizer(undefined, settings));
    const row = { id: 'r', prompt_ids: [5, 6], response_ids: [7, 2] };
    for (const ids of [[9, 2], [9, 9], [2], []]) {
      const sampled = generated(ids, ids.at(-1) === 2 ? 'eos' : 'length');
      const pair = fit(row, sampled);
      assert.deepEqual(pair, {
        prompt_ids: [5, 6],
        real_ids: [7, 2],
        generated_ids: sampled.response_ids,
        as_sampled: true,
      });
    }
  });
  test('it is cut to what is left of max_length', () => {
    const fit = fitWith(new RowTokenizer(undefined, { ...settings, max_length: 6 }));
    const row = { id: 'r', prompt_ids: Int32Array.of(5, 6, 7, 8), response_ids: Int32Array.of(9, 9) };
    const pair = fit(row, generated([3, 3, 3, 2], 'eos'));
    assert.deepEqual([...pair.generated_ids], [3, 3]);
    assert.equal(pair.prompt_ids, row.prompt_ids);
    assert.equal(pair.as_sampled, true, 'its first tokens have the log-probabilities they were sampled with');
  });

  if (data !== undefined) {
    test('paper_compat: the pairs of the released code', async () => {
      const tokenizer = await Tokenizer.load(`${data}/tokenizers/zephyr`);
      const [prompt, response] = golden.story;
      const sources: Record<'prompt_response' | 'messages', Row> = {
        prompt_response: { kind: 'prompt_response', id: 'r', prompt, response },
        messages: { kind: 'messages', id: 'r', messages: golden.chat },
      };
      for (const { kind, sampled, pair: wanted, ...lengths } of golden.compat_pairs) {
        const rows = new RowTokenizer(tokenizer, { ...settings, ...lengths, bos: 'never', paper_compat: true });
        const row = rows.tokenize(sources[kind]);
        assert.ok(row);
        const { prompt_ids, real_ids, generated_ids, as_sampled } = fitWith(rows)(row, generated(sampled));
        const what = JSON.stringify({ kind, sampled, ...lengths });
        assert.deepEqual({ prompt_ids, real_ids, generated_ids: [...generated_ids] }, wanted, what);
        const unchanged =
          generated_ids.length <= sampled.length && generated_ids.every((id, place) => id === sampled[place]);
        assert.equal(as_sampled, unchanged && prompt_ids.length === row.prompt_ids.length, what);
      }
    });
  }

  test('for any lengths: both sides fit, and as_sampled says whether ỹ and its prompt are what they were', () =>
    fc.assert(
      fc.property(
        fc.boolean(),
        fc.array(fc.integer({ min: 3, max: 9 }), { minLength: 1, maxLength: 40 }),
        fc.array(fc.integer({ min: 3, max: 9 }), { minLength: 1, maxLength: 40 }),
        fc.array(fc.integer({ min: 3, max: 9 }), { maxLength: 12 }),
        fc.boolean(),
        (paper_compat, prompt_ids, response_ids, written, ended) => {
          const rows = new RowTokenizer(undefined, { ...settings, paper_compat });
          const row = rows.tokenize({ kind: 'ids', id: 'i', prompt_ids, response_ids });
          assert.ok(row);
          const sampled = ended ? [...written, 2] : written;
          const pair = fitWith(rows)(row, generated(sampled));
          for (const side of [pair.real_ids, pair.generated_ids])
            assert.ok(pair.prompt_ids.length + side.length <= settings.max_length);
          assert.deepEqual([...pair.real_ids], row.response_ids.slice(0, pair.real_ids.length));
          const same = [...pair.generated_ids].every((id, place) => id === sampled[place]);
          assert.equal(pair.as_sampled, same && pair.prompt_ids.length === row.prompt_ids.length);
          if (paper_compat)
            assert.ok(
              pair.generated_ids.at(-1) === 2 ||
                pair.generated_ids.length >= settings.max_length - settings.max_prompt_length,
            );
          else assert.deepEqual([pair.prompt_ids, [...pair.generated_ids]], [row.prompt_ids, sampled]);
        },
      ),
      { seed: 7, numRuns: 500 },
    ));
});
