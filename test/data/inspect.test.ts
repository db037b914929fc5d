// What inspect says of rows: what is trained of them, where EOS comes from, what is cut, dropped, stands twice or leaks.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { importData } from '../../src/data/import/import.js';
import { type InspectOptions, inspectData } from '../../src/data/inspect/inspect.js';
import { LengthHistogram } from '../../src/data/inspect/length_histogram.js';
import { FirstRows, hash64 } from '../../src/data/inspect/seen.js';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { importOptions, tokenizerFolder } from '../support/import.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const folder = temporaryFolder();
const tokenizer = await Tokenizer.load(tokenizerFolder);
const eos_token_id = tokenizer.eos_token_id ?? 0;

function file(name: string, rows: readonly object[]): string {
  const path = join(folder, name);
  writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  return path;
}

const inspect = (source: string, more: Partial<InspectOptions> = {}) =>
  inspectData({
    sources: [source],
    eval: [],
    format: 'auto',
    limit: null,
    tokenizer,
    template: 'auto',
    bos: 'auto',
    eos_token_id,
    vocab: tokenizer.vocab_size,
    max_length: null,
    max_prompt_length: null,
    rows: 2,
    ...more,
  });

const answer = (prompt: string, response: string) => ({ prompt, response });

suite('inspect', (test) => {
  test('shows rows as text and tokens, the response apart, EOS as a special token', async () => {
    const { rows, counts, files } = await inspect(file('plain.jsonl', [answer('One two.', ' Three.')]));
    const [row] = rows;
    assert.ok(row);
    assert.equal(row.prompt, 'One two.');
    assert.equal(row.response, ' Three.<|end|>');
    assert.deepEqual(row.response_tokens.at(-1), { id: eos_token_id, token: '<|end|>', special: true });
    assert.ok(row.prompt_tokens.every(({ special }) => !special));
    assert.equal(counts.kept, 1);
    assert.match(files[0]?.detail ?? '', /JSON lines/);
  });

  test('says by which rule EOS stands where it stands', async () => {
    const rows = [
      answer('a', ' b'),
      answer('a', ' b<|end|>'),
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
        ],
      },
      { prompt_ids: [3], response_ids: [4, eos_token_id] },
      { prompt_ids: [3], response_ids: [4, 5] },
      answer('a', ' word'.repeat(80)),
      { text: 'a b c' },
      {
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
        ],
        chosen: undefined,
      },
    ];
    const {
      eos,
      rows: shown,
      kinds,
    } = await inspect(file('eos.jsonl', rows), { max_length: 60, max_prompt_length: 9, rows: 9 });
    assert.deepEqual(eos, { appended: 2, in_text: 1, of_template: 2, as_given: 1, none_as_given: 1, none_cut: 1 });
    assert.deepEqual(kinds, { prompt_response: 3, messages: 2, ids: 2, text: 1 });
    for (const { response_tokens, eos: rule } of shown) {
      const ends = response_tokens.filter(({ id }) => id === eos_token_id);
      assert.equal(ends.length, rule.startsWith('none') ? 0 : 1, rule);
    }
    const bare = await inspect(file('chat.jsonl', rows.slice(2, 3)), { template: 'none' });
    assert.deepEqual(bare.eos, { appended: 1 });
  });

  test('counts what is cut and dropped, with the first row of each', async () => {
    const rows = [
      answer('fine', ' fine'),
      answer('a', ''),
      answer('', ' a'),
      { prompt: 'only a prompt' },
      answer('word '.repeat(40), ' a'),
      answer('a', ' word'.repeat(60)),
      { messages: [{ role: 'user', content: 'a' }] },
    ];
    const { counts, first } = await inspect(file('cut.jsonl', rows), { max_length: 30, max_prompt_length: 30 });
    assert.deepEqual(counts.dropped, {
      empty_response: 1,
      empty_prompt: 1,
      no_assistant_answer: 1,
      no_room: 1,
      no_response: 1,
    });
    assert.equal(counts.read, 7);
    assert.equal(counts.kept, 2);
    assert.equal(counts.responses_cut, 1);
    assert.match(first.empty_response ?? '', /row cut.jsonl:2/);
    assert.match(first.no_response ?? '', /row cut.jsonl:4/);
    assert.match(first.responses_cut ?? '', /row cut.jsonl:6: a response of \d+ tokens/);
  });

  test('finds what stands twice, and what of the evaluation data stands in the training data', async () => {
    const train = file('train.jsonl', [
      answer('Who?', ' I.'),
      answer('Where?', ' Here.'),
      answer('Who?', ' You.'),
      answer('Where?', ' Here.'),
      answer('WHERE', ' here!'),
    ]);
    const held = file('held.jsonl', [answer('When?', ' Now.'), answer('Where?', ' Here.'), answer('who', ' i')]);
    const { duplicates, leaks } = await inspect(train, { eval: [held] });
    assert.deepEqual(duplicates, {
      same_row: { rows: 1, first: { row: 4, id: 'train.jsonl:4', same_as_row: 2 } },
      same_prompt: { rows: 2, first: { row: 3, id: 'train.jsonl:3', same_as_row: 1 } },
      same_text: { rows: 1, first: { row: 5, id: 'train.jsonl:5', same_as_row: 2 } },
    });
    assert.deepEqual(leaks, {
      eval_rows: 3,
      same_row: { rows: 2, first: { row: 2, id: 'train.jsonl:2', same_as_row: 2 } },
      same_prompt: { rows: 2, first: { row: 2, id: 'train.jsonl:2', same_as_row: 2 } },
      same_text: { rows: 2, first: { row: 1, id: 'train.jsonl:1', same_as_row: 3 } },
    });
  });

  test('an import is looked at like its source, without a tokenizer too', async () => {
    const source = file('source.jsonl', [answer('Who?', ' I.'), answer('a', ''), answer('Where?', ' Here.')]);
    const { summary } = await importData(importOptions([source], join(folder, 'imported')));
    const text = await inspect(source);
    const { imported, ...ids } = await inspect(join(folder, 'imported'));
    assert.deepEqual(imported?.counts, summary.counts);
    assert.deepEqual(ids.lengths, text.lengths);
    assert.deepEqual(
      ids.rows.map(({ prompt, response, id }) => ({ id, prompt, response })),
      text.rows.map(({ prompt, response, id }) => ({ id, prompt, response })),
    );
    assert.deepEqual(ids.eos, { as_given: 2 });
    const leaks = (await inspect(source, { eval: [join(folder, 'imported')] })).leaks;
    assert.equal(leaks?.same_row.rows, 2, 'text and ids are compared by their ids');
    const bare = await inspect(join(folder, 'imported'), { tokenizer: undefined, vocab: 2 ** 31 });
    assert.equal(bare.rows[0]?.prompt, undefined);
    assert.equal(bare.rows[0]?.response_tokens.at(-1)?.special, true);
    await assert.rejects(inspect(source, { tokenizer: undefined }), /there is no tokenizer/);
  });
});

suite('length histogram', (test) => {
  test('percentiles are those of the sorted lengths; it comes back from its entries', () =>
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 3000 }), { minLength: 1, maxLength: 60 }), (lengths) => {
        const histogram = new LengthHistogram();
        for (const length of lengths) histogram.add(length);
        const sorted = [...lengths].sort((a, b) => a - b);
        const summary = histogram.summary();
        for (const percent of [1, 50, 99])
          assert.equal(summary.percentiles[`p${percent}`], sorted[Math.ceil((sorted.length * percent) / 100) - 1]);
        assert.equal(summary.longest, sorted.at(-1));
        assert.equal(
          histogram.sum,
          lengths.reduce((sum, length) => sum + length, 0),
        );
        assert.equal(
          summary.bins.reduce((sum, [, , rows]) => sum + rows, 0),
          lengths.length,
        );
        assert.ok(summary.bins.length <= 21);
        for (const [from, to, rows] of summary.bins)
          assert.equal(lengths.filter((length) => length >= from && length < to).length, rows);
        assert.deepEqual(LengthHistogram.from(histogram.entries()).summary(), summary);
      }),
      { seed: 31, numRuns: 60 },
    ));
});

suite('first rows', (test) => {
  test('gives back the first row of each of many hashes', () => {
    const rows = new FirstRows();
    for (let row = 0; row < 20_000; ++row)
      assert.equal(rows.add(hash64(`text ${row % 15_000}`), row), row < 15_000 ? undefined : row - 15_000);
    assert.equal(rows.get(hash64('text 14999')), 14_999);
    assert.equal(rows.get(hash64('text 15000')), undefined);
  });
});
