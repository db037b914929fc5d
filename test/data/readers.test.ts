// Files to rows: every kind, ids, limits; what is damaged is refused with file, line and key, whatever it is.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import fc from 'fast-check';
import { GleanerError } from '../../src/common/errors.js';
import { maxRowBytes } from '../../src/data/chunks.js';
import { type ReadOptions, readRows } from '../../src/data/readers.js';
import type { Row } from '../../src/data/rows.js';
import { assertRejects, suite } from '../support/suite.js';
import { inFolder } from './golden.js';

async function rowsOf(name: string, content: string | Uint8Array, options: Partial<ReadOptions> = {}): Promise<Row[]> {
  return inFolder({ [name]: content }, async (folder) => {
    const rows: Row[] = [];
    for await (const row of readRows([join(folder, name)], { format: 'auto', limit: null, ...options })) rows.push(row);
    return rows;
  });
}

const refused = (name: string, content: string | Uint8Array, message: RegExp, options: Partial<ReadOptions> = {}) =>
  assertRejects(() => rowsOf(name, content, options), 'ERR_GLEANER_DATA', message);

const oneOfEach = [
  { prompt: 'p', response: 'r', more: { deep: [1] } },
  { id: 7, messages: [{ role: 'user', content: 'u', name: 'n' }], prompt: 'what messages were made from' },
  { id: 'a', text: 't' },
  { id: null, prompt_ids: [1, 2], response_ids: [3] },
  { prompt: 'p' },
];
const wanted: Row[] = [
  { kind: 'prompt_response', id: 'd.jsonl:1', prompt: 'p', response: 'r' },
  { kind: 'messages', id: '7', messages: [{ role: 'user', content: 'u' }] },
  { kind: 'text', id: 'a', text: 't' },
  { kind: 'ids', id: 'd.jsonl:4', prompt_ids: [1, 2], response_ids: [3] },
  { kind: 'prompt', id: 'd.jsonl:5', prompt: 'p' },
];
const lines = oneOfEach.map((row) => JSON.stringify(row));

suite('reading .jsonl', (test) => {
  test('every kind of row', async () => {
    assert.deepEqual(await rowsOf('d.jsonl', `${lines.join('\n')}\n`), wanted);
    assert.deepEqual(await rowsOf('d.jsonl', lines.join('\r\n')), wanted, 'CRLF, no newline at the end');
    assert.deepEqual(await rowsOf('d.jsonl', `\ufeff${lines.join('\n')}`), wanted, 'byte order mark');
  });
  test('blank lines are no rows but count as lines', async () => {
    const rows = await rowsOf('d.jsonl', `\n  \n${lines[0]}\n\n\r\n${lines[4]}\n\n`);
    assert.deepEqual(
      rows.map(({ id }) => id),
      ['d.jsonl:3', 'd.jsonl:6'],
    );
    assert.deepEqual(await rowsOf('d.jsonl', ''), []);
  });
  test('limit counts over all files, and stops reading', async () => {
    const damagedAfter = `${lines[0]}\n${lines[2]}\nnot json`;
    assert.equal((await rowsOf('d.jsonl', damagedAfter, { limit: 2 })).length, 2);
    assert.equal((await rowsOf('d.jsonl', damagedAfter, { limit: 0 })).length, 0);
    await inFolder({ 'a.jsonl': lines.join('\n'), 'b.json': `[${lines.join()}]` }, async (folder) => {
      const paths = [join(folder, 'a.jsonl'), join(folder, 'b.json')];
      const ids: string[] = [];
      for await (const { id } of readRows(paths, { format: 'auto', limit: 6 })) ids.push(id);
      assert.deepEqual(ids, ['a.jsonl:1', '7', 'a', 'a.jsonl:4', 'a.jsonl:5', 'b.json:1']);
    });
  });
  test('characters on the border of two chunks stay whole', async () => {
    const text = 'é🙂'.repeat(200_000);
    const rows = await rowsOf('d.jsonl', `${JSON.stringify({ text })}\n${JSON.stringify({ text: 'next' })}`);
    assert.deepEqual(
      rows.map((row) => row.kind === 'text' && row.text),
      [text, 'next'],
    );
  });
  test('errors name file, line and key', async () => {
    await refused('d.jsonl', `${lines[0]}\n{"prompt": "p",\n`, /d\.jsonl:2: not JSON/);
    await refused('d.jsonl', '{"text": 3}', /d\.jsonl:1: text is 3: expected string/);
    await refused('d.jsonl', '{"prompt": "p", "response": null}', /:1: response is null: expected string/);
    await refused('d.jsonl', '{"response": "r"}', /:1: prompt is missing/);
    await refused('d.jsonl', '{"messages": []}', /:1: messages is a list of 0/);
    await refused(
      'd.jsonl',
      '{"messages": [{"role": "user", "content": ["x"]}]}',
      /messages\[0\]\.content is a list of 1/,
    );
    await refused('d.jsonl', '{"messages": "hi"}', /messages is "hi": expected array/);
    await refused('d.jsonl', '{"prompt_ids": [1, -2], "response_ids": []}', /prompt_ids\[1\] is -2/);
    await refused('d.jsonl', '{"prompt_ids": [1.5], "response_ids": []}', /prompt_ids\[0\] is 1\.5/);
    await refused('d.jsonl', '{"prompt_ids": [1]}', /response_ids is missing/);
    await refused('d.jsonl', '{"id": [], "text": "t"}', /id is a list of 0/);
    await refused('d.jsonl', '{"instruction": "i", "output": "o"}', /no kind of row has the keys instruction, output/);
    await refused('d.jsonl', '{}', /no kind of row has no key/);
    await refused('d.jsonl', '[1]', /must be an object, found a list of 1/);
    await refused('d.jsonl', '"text"', /must be an object, found "text"/);
    await refused('d.jsonl', 'null', /must be an object, found null/);
    await refused('d.jsonl', '{"chosen": "a", "rejected": "b"}', /:1: chosen is "a", and there is no prompt/);
    await refused('d.jsonl', '{"__proto__": {"text": "t"}}', /the key __proto__/);
    await refused('d.jsonl', Uint8Array.from([0x7b, 0xff, 0x7d]), /d\.jsonl:1: not UTF-8/);
  });
  test('a very long line is refused when it is too long, and read when it is not', async () => {
    await refused('d.jsonl', Buffer.alloc(maxRowBytes + 1, 'x'), /d\.jsonl:1: this row is longer than 64 MiB/);
    const text = 'x'.repeat(2 ** 24);
    assert.equal((await rowsOf('d.jsonl', JSON.stringify({ text }))).length, 1);
    await refused('d.jsonl', '['.repeat(200_000), /d\.jsonl:1: not JSON/);
  });
});

suite('reading .json', (test) => {
  const named = wanted.map((row) => ({ ...row, id: row.id.replace(/^d\.jsonl/, 'd.json') }));
  const idsOf = (rows: readonly Row[]) => rows.map(({ id }) => id);
  test('a list of rows, one row, rows one after the other', async () => {
    assert.deepEqual(
      await rowsOf('d.json', `[\n${lines.join(',\n')}\n]`),
      wanted.map((row) => ({ ...row, id: row.id.replace(/d\.jsonl:(\d)/, (_, line) => `d.json:${Number(line) + 1}`) })),
    );
    assert.deepEqual(await rowsOf('d.json', lines.join('\n')), named);
    assert.deepEqual(idsOf(await rowsOf('d.json', JSON.stringify(oneOfEach[0], null, 2))), ['d.json:1']);
    assert.deepEqual(idsOf(await rowsOf('d.json', ' \ufeff[ ] '.trim())), []);
    assert.deepEqual(await rowsOf('d.json', ''), []);
  });
  test('lines are counted inside of rows too', async () => {
    const text = JSON.stringify([{ text: 'a' }, { text: 'b' }], null, 1);
    assert.deepEqual(idsOf(await rowsOf('d.json', text)), ['d.json:2', 'd.json:5']);
  });
  test('braces and quotes in strings are no braces', async () => {
    const rows = await rowsOf(
      'd.json',
      JSON.stringify([{ text: '{"[\\"}' }, { text: '\\' }, { text: 'é🙂]'.repeat(100_000) }]),
    );
    assert.deepEqual(
      rows.map((row) => row.kind === 'text' && row.text.slice(0, 6)),
      ['{"[\\"}', '\\', 'é🙂]é🙂'.slice(0, 6)],
    );
  });
  test('errors name file and line', async () => {
    await refused('d.json', '[{"text": "a"}\n{"text": "b"}]', /d\.json:2: "\{" where a row was expected/);
    await refused('d.json', '[{"text": "a"},\n]', /d\.json:2: "\]" where/);
    await refused('d.json', '[[1]]', /d\.json:1: "\[" where/);
    await refused('d.json', '[3]', /"3" where/);
    await refused('d.json', 'hello', /"h" where/);
    await refused('d.json', '[{"text": "a"}] {"text": "b"}', /"\{" where/);
    await refused('d.json', '\n[{"text": "a"', /d\.json:2: the file ends inside of this row/);
    await refused('d.json', '[{"text": "a"},', /ends before the \]/);
    await refused('d.json', '[{"text": }]', /d\.json:1: not JSON/);
    await refused('d.json', '[{]}', /not JSON/);
    await refused('d.json', '{"data": [{"text": "a"}]}', /the key data/);
    await refused('d.json', Buffer.from('[{"text": "a"}]', 'utf16le'), /d\.json:1: /);
  });
});

suite('choosing a reader', (test) => {
  test('data.format wins over the ending', async () => {
    assert.equal((await rowsOf('rows.txt', lines.join('\n'), { format: 'jsonl' })).length, 5);
    assert.equal((await rowsOf('rows.data', `[${lines[0]}]`, { format: 'json' })).length, 1);
    assert.equal((await rowsOf('ROWS.JSONL', lines.join('\n'))).length, 5);
    assert.equal((await rowsOf('rows.ndjson', lines.join('\n'))).length, 5);
  });
  test('a file that is not there, a folder where a file was expected', async () => {
    const first = (path: string) => readRows([path], { format: 'jsonl', limit: null }).next();
    await assertRejects(() => first('/nowhere/d.jsonl'), 'ERR_GLEANER_DATA', /d\.jsonl: there is no such file/);
    await inFolder({}, (folder) =>
      assertRejects(() => first(folder), 'ERR_GLEANER_DATA', /this is a folder without data/),
    );
  });
});

suite('damaged files', (test) => {
  const good = Buffer.from(`${lines.join('\n')}\n`);
  for (const name of ['d.jsonl', 'd.json']) {
    test(`${name}: any damage gives rows or a GleanerError, nothing else`, () =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
          fc.nat(good.length),
          async (changes, length) => {
            const bytes = Buffer.from(good);
            for (const [place, value] of changes) bytes[place] = value;
            try {
              await rowsOf(name, bytes.subarray(0, length));
            } catch (error) {
              if (!(error instanceof GleanerError)) throw error;
              assert.equal(error.code, 'ERR_GLEANER_DATA');
              assert.match(error.message, /d\.jsonl?:\d+: /);
            }
          },
        ),
        { seed: 7, numRuns: 200 },
      ));
  }
});
