// What is too long: the invariants of truncation and EOS for any lengths, and the cases of method.md, section 6, by hand.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RowTokenizer, type TokenizeSettings } from '../../src/data/tokenize.js';
import { type Lengths, truncate } from '../../src/data/truncate.js';
import { suite } from '../support/suite.js';
import { tinyTokenizer } from './golden.js';

const lengths = (max_length: number, max_prompt_length: number, max_new_tokens: number | null): Lengths => ({
  max_length,
  max_prompt_length,
  max_new_tokens,
  paper_compat: false,
});
const count = (length: number, first = 10) => Array.from({ length }, (_, place) => first + place);
/** Lengths after truncation. */
function cut(prompt: number, response: number, settings: Lengths): [prompt: number, response: number] {
  const { prompt_ids, response_ids } = truncate(count(prompt), count(response), settings, undefined);
  return [prompt_ids.length, response_ids.length];
}

suite('truncation', (test) => {
  test('what fits stays, to the last token', () => {
    assert.deepEqual(cut(20, 12, lengths(32, 8, null)), [20, 12]);
    assert.deepEqual(cut(20, 3, lengths(32, 8, 12)), [20, 3]);
  });
  test('room for the answer that will be sampled is made before it is', () => {
    assert.deepEqual(cut(20, 3, lengths(32, 8, 13)), [8, 3]);
    assert.deepEqual(cut(20, 3, { ...lengths(32, 8, 13), paper_compat: true }), [20, 3], 'the released code waits');
  });
  test('a prompt of at most max_prompt_length is never cut; the answer gets what is left', () => {
    assert.deepEqual(cut(8, 60, lengths(32, 8, null)), [8, 24]);
    assert.deepEqual(cut(5, 60, lengths(32, 8, null)), [5, 27]);
    assert.deepEqual(
      cut(5, 60, { ...lengths(32, 8, null), paper_compat: true }),
      [5, 24],
      'as if the prompt were longest',
    );
  });
  test('the prompt keeps its end, and a BOS its start', () => {
    const keep = (bos: number | undefined, paper_compat = false, max_prompt_length = 3) =>
      truncate([1, 20, 21, 22, 23], count(9), { ...lengths(10, max_prompt_length, null), paper_compat }, bos)
        .prompt_ids;
    assert.deepEqual(keep(undefined), [21, 22, 23]);
    assert.deepEqual(keep(1), [1, 22, 23]);
    assert.deepEqual(keep(20), [21, 22, 23], 'only at the start');
    assert.deepEqual(keep(1, true), [21, 22, 23], 'paper_compat: plainly the last ones');
    assert.deepEqual(keep(1, false, 1), [23], 'the question is worth more than BOS');
  });

  const anyLengths = fc
    .record({ max_length: fc.integer({ min: 2, max: 40 }), max_new_tokens: fc.option(fc.integer({ min: 1, max: 30 })) })
    .chain((rest) =>
      fc
        .record({ max_prompt_length: fc.integer({ min: 1, max: rest.max_length - 1 }), paper_compat: fc.boolean() })
        .map((more) => ({ ...rest, ...more })),
    );
  test('for any lengths', () =>
    fc.assert(
      fc.property(
        anyLengths,
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 60 }),
        fc.boolean(),
        (settings, promptLength, responseLength, withBos) => {
          const prompt = withBos ? [1, ...count(promptLength - 1)] : count(promptLength);
          const response = count(responseLength, 100);
          const found = truncate(prompt, response, settings, 1);
          const { max_length, max_prompt_length, max_new_tokens, paper_compat } = settings;
          assert.ok(
            found.prompt_ids.length + found.response_ids.length <= max_length || found.response_ids.length === 0,
          );
          assert.deepEqual(found.response_ids, response.slice(0, found.response_ids.length), 'a start of the answer');
          const kept = found.prompt_ids.length;
          const keepsBos = found.prompt_cut && withBos && !paper_compat && max_prompt_length > 1;
          assert.deepEqual(
            found.prompt_ids,
            keepsBos ? [1, ...prompt.slice(promptLength - kept + 1)] : prompt.slice(promptLength - kept),
          );
          assert.deepEqual(
            [found.prompt_cut, found.response_cut],
            [kept < promptLength, found.response_ids.length < responseLength],
          );
          if (found.prompt_cut) assert.equal(kept, max_prompt_length);
          if (!paper_compat && max_new_tokens !== null && max_prompt_length + max_new_tokens <= max_length)
            assert.ok(kept + max_new_tokens <= max_length, 'what is sampled fits');
          if (promptLength + Math.max(responseLength, max_new_tokens ?? 0) <= max_length)
            assert.deepEqual([found.prompt_cut, found.response_cut], [false, false]);
          const again = truncate(found.prompt_ids, found.response_ids, settings, 1);
          if (found.response_ids.length > 0) assert.deepEqual(again.prompt_ids, found.prompt_ids, 'cut once, it stays');
        },
      ),
      { seed: 7, numRuns: 1000 },
    ));

  test('rows of text: EOS ends an answer exactly when it is whole', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const words = fc.array(fc.constantFrom(' the', ' in', 'ing', '\n', ' fox', '🙂', '.'), {
      minLength: 1,
      maxLength: 25,
    });
    fc.assert(
      fc.property(anyLengths, words, words, (limits, before, after) => {
        const settings: TokenizeSettings = { ...limits, template: 'auto', bos: 'auto', eos_token_id: 2, vocab: 1000 };
        const rows = new RowTokenizer(tokenizer, settings);
        const row = { kind: 'prompt_response', id: 'r', prompt: before.join(''), response: after.join('') } as const;
        const found = rows.tokenize(row);
        if (found === undefined) {
          assert.deepEqual(rows.counts.dropped, { no_room: 1 });
          return;
        }
        const whole = new RowTokenizer(tokenizer, { ...settings, max_length: 1000, max_prompt_length: 500 }).tokenize(
          row,
        );
        assert.ok(whole);
        const { responses_cut } = rows.counts;
        assert.equal(found.response_ids.includes(2), responses_cut === 0);
        assert.equal(found.response_ids.length < whole.response_ids.length, responses_cut === 1);
        assert.ok(found.prompt_ids.length + found.response_ids.length <= settings.max_length);
      }),
      { seed: 7, numRuns: 300 },
    );
  });
  test('ids are cut as text is, and counted', () => {
    const settings: TokenizeSettings = {
      ...lengths(10, 3, null),
      template: 'auto',
      bos: 'auto',
      eos_token_id: 2,
      vocab: 1000,
    };
    const rows = new RowTokenizer(undefined, settings);
    const ids = (prompt: number, response: number) =>
      rows.tokenize({ kind: 'ids', id: 'i', prompt_ids: count(prompt), response_ids: count(response) });
    assert.deepEqual(ids(4, 6), { id: 'i', prompt_ids: count(4), response_ids: count(6) });
    assert.deepEqual(ids(4, 7), { id: 'i', prompt_ids: [11, 12, 13], response_ids: count(7) });
    assert.deepEqual(ids(2, 9), { id: 'i', prompt_ids: count(2), response_ids: count(8) });
    assert.deepEqual(rows.counts, { read: 3, kept: 3, prompts_cut: 1, responses_cut: 1, dropped: {} });
  });
});
