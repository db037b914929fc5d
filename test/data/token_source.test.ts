// Token files as what training reads: exactly the rows of their source, views into what was read, and never more in memory than windows need.

import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Field,
  Float64,
  Int32,
  Int64,
  List,
  RecordBatchStreamWriter,
  Table,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import fc from 'fast-check';
import { importData } from '../../src/data/import/import.js';
import { float64Column, int32Column, intListColumn, stringColumn } from '../../src/data/stream/arrow_columns.js';
import { ArrowRows } from '../../src/data/stream/arrow_rows.js';
import { RowOrder } from '../../src/data/stream/order.js';
import { isTokenFile, openTokenSource, type TokenSourceOptions } from '../../src/data/stream/token_file.js';
import { RowTokenizer } from '../../src/data/tokenize.js';
import { importOptions, writeRows } from '../support/import.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const folder = temporaryFolder();
const at = (...parts: string[]) => join(folder, ...parts);
const listOfIds = new List(new Field('item', new Int32(), true));

interface Ids {
  id: string;
  prompt_ids: number[];
  response_ids: number[];
}

function streamFile(name: string, batches: Table[]): string {
  const writer = RecordBatchStreamWriter.writeAll(batches.flatMap((table) => table.batches));
  writeFileSync(at(name), writer.toUint8Array(true));
  return at(name);
}

function idsTable(rows: readonly Ids[], { ids = true }: { ids?: boolean } = {}): Table {
  return new Table({
    ...(ids && {
      id: vectorFromArray(
        rows.map(({ id }) => id),
        new Utf8(),
      ),
    }),
    prompt_ids: vectorFromArray(
      rows.map(({ prompt_ids }) => prompt_ids),
      listOfIds,
    ),
    response_ids: vectorFromArray(
      rows.map(({ response_ids }) => response_ids),
      listOfIds,
    ),
  });
}

const plain = (row: { id: string; prompt_ids: ArrayLike<number>; response_ids: ArrayLike<number> }): Ids => ({
  id: row.id,
  prompt_ids: Array.from(row.prompt_ids),
  response_ids: Array.from(row.response_ids),
});

const everyPlace = (length: number) => Array.from({ length }, (_, place) => place);

suite('token files', (test) => {
  test('give what RowTokenizer gives of rows of ids, whatever the limits', () => {
    const ids = (most: number) => fc.array(fc.nat({ max: 30 }), { maxLength: most });
    const rows = fc.array(fc.record({ prompt_ids: ids(9), response_ids: ids(12) }), { minLength: 1, maxLength: 12 });
    const limits = fc.record({
      max_length: fc.integer({ min: 1, max: 18 }),
      max_prompt_length: fc.integer({ min: 1, max: 8 }),
      max_new_tokens: fc.constantFrom(null, 1, 7, 20),
      paper_compat: fc.boolean(),
    });
    let number = 0;
    return fc.assert(
      fc.asyncProperty(rows, limits, async (found, lengths) => {
        const named = found.map((row, place) => ({ id: `r${place}`, ...row }));
        const tokenizer = new RowTokenizer(undefined, {
          ...lengths,
          template: 'none',
          bos: 'never',
          eos_token_id: 2,
          vocab: 31,
        });
        const wanted = named.flatMap((row) => tokenizer.tokenize({ kind: 'ids', ...row }) ?? []);
        await using source = await openTokenSource(
          [streamFile(`limits-${number++}.arrow`, [idsTable(named)])],
          lengths,
        );
        assert.deepEqual((await source.rows(everyPlace(source.length))).map(plain), wanted);
        assert.deepEqual(source.counts, tokenizer.counts);
        assert.deepEqual(source.firstDropped, tokenizer.firstDropped);
        assert.deepEqual(
          [...source.prompt_lengths],
          wanted.map((row) => row.prompt_ids.length),
        );
        assert.deepEqual(
          [...source.response_lengths],
          wanted.map((row) => row.response_ids.length),
        );
        assert.equal(
          source.batch_rows.reduce((sum, count) => sum + count, 0),
          source.length,
        );
      }),
      { seed: 21, numRuns: 120 },
    );
  });

  test('a BOS stays at the start of a prompt that is cut', async () => {
    const path = streamFile('bos.arrow', [idsTable([{ id: 'a', prompt_ids: [1, 5, 6, 7, 8], response_ids: [9, 9] }])]);
    const limits = { max_length: 5, max_prompt_length: 3 };
    await using kept = await openTokenSource([path], { ...limits, bos_token_id: 1 });
    assert.deepEqual((await kept.rows([0])).map(plain)[0]?.prompt_ids, [1, 7, 8]);
    await using last = await openTokenSource([path], limits);
    assert.deepEqual((await last.rows([0])).map(plain)[0]?.prompt_ids, [6, 7, 8]);
  });

  test('of an import: the folder stands for its files, rows follow each other over their edges, and nothing is copied', async () => {
    const rowsFile = writeRows(at('rows.jsonl'), 5000);
    const { summary } = await importData(importOptions([rowsFile], at('imported'), { shard_bytes: 60_000 }));
    assert.ok(summary.shards.length > 2);
    await using source = await openTokenSource([at('imported')]);
    await using again = await openTokenSource(summary.shards.map(({ file }) => at('imported', file)));
    assert.equal(source.length, summary.counts.kept);
    assert.equal(source.fingerprint, again.fingerprint);
    assert.equal(source.imported?.tokenizer.sha256, summary.tokenizer.sha256);
    const tokens = (lengths: Int32Array) => lengths.reduce((sum, length) => sum + length, 0);
    assert.deepEqual(
      [tokens(source.prompt_lengths), tokens(source.response_lengths)],
      [summary.tokens.prompt, summary.tokens.response],
    );
    const order = new RowOrder({ seed: 1, purpose: 'rows', stream: [], batch_rows: source.batch_rows, shuffle: true });
    const places = order.slice(0, order.length);
    const rows = await source.rows(places);
    const inOrder = await again.rows(everyPlace(again.length));
    for (const [index, row] of rows.entries()) assert.equal(row.id, inOrder[places[index] ?? -1]?.id);
    assert.equal(new Set(rows.map(({ id }) => id)).size, source.length);
    const buffers = new Set(
      rows.map(({ response_ids }) => (response_ids instanceof Int32Array ? response_ids.buffer : 0)),
    );
    assert.equal(buffers.size, source.batch_rows.length, 'a buffer for each record batch');
    await assert.rejects(
      openTokenSource([at('imported')], { vocab: 3 }),
      /its highest token id is \d+, which is not below/,
    );
  });

  test('fingerprints tell other rows, other files and other imports apart', async () => {
    const row = (response: number): Ids => ({ id: 'a', prompt_ids: [1], response_ids: [response] });
    const of = async (paths: string[]) => {
      await using source = await openTokenSource(paths);
      return source.fingerprint;
    };
    const [a, b, c] = [4, 5, 4].map((response, i) => streamFile(`f${i}.arrow`, [idsTable([row(response)])]));
    assert.ok(a && b && c);
    assert.equal(await of([a]), await of([c]));
    assert.equal(new Set(await Promise.all([of([a]), of([b]), of([a, b]), of([b, a]), of([at('imported')])])).size, 5);
  });

  test('rows without an id are named by file and row; limit reads the first rows', async () => {
    const rows = everyPlace(30).map((i) => ({ id: '', prompt_ids: [i], response_ids: [i, 2] }));
    const tables = [rows.slice(0, 7), rows.slice(7)].map((part) => idsTable(part, { ids: false }));
    await using source = await openTokenSource([streamFile('unnamed.arrow', tables)], { limit: 9 });
    assert.equal(source.length, 9);
    assert.deepEqual(source.batch_rows, [7, 2]);
    assert.deepEqual(
      (await source.rows([8, 0])).map(({ id }) => id),
      ['unnamed.arrow:9', 'unnamed.arrow:1'],
    );
    await assert.rejects(source.rows([9]), RangeError);
  });

  test('isTokenFile knows its files by their columns', async () => {
    assert.ok(await isTokenFile(at('imported')));
    assert.ok(await isTokenFile(at('unnamed.arrow')));
    const wide = new List(new Field('item', new Int64(), true));
    const other = new Table({ prompt_ids: vectorFromArray([[1n]], wide), response_ids: vectorFromArray([[1n]], wide) });
    assert.ok(!(await isTokenFile(streamFile('int64.arrow', [other]))));
    assert.ok(!(await isTokenFile(at('rows.jsonl'))));
    assert.ok(!(await isTokenFile(at('lost'))));
    assert.ok(!(await isTokenFile(folder)));
  });

  test('ids that no model has, nulls, cut files and missing files are errors that name the place', async () => {
    const open = async (name: string, tables: Table[], options?: TokenSourceOptions) => {
      await using source = await openTokenSource([streamFile(name, tables)], options);
      await source.rows(everyPlace(source.length));
    };
    const rows = [
      { id: 'a', prompt_ids: [1], response_ids: [2] },
      { id: 'b', prompt_ids: [1, 40], response_ids: [2] },
    ];
    await assert.rejects(
      open('big.arrow', [idsTable(rows)], { vocab: 40 }),
      /row b: the token id 40, which is not below .* 40/,
    );
    const negative = [{ id: 'n', prompt_ids: [-1], response_ids: [2] }];
    await assert.rejects(open('negative.arrow', [idsTable(negative)]), /row n: -1 is no token id/);
    const nulls = new Table({
      prompt_ids: vectorFromArray([[1], null], listOfIds),
      response_ids: vectorFromArray([[1], [2]], listOfIds),
    });
    await assert.rejects(open('nulls.arrow', [nulls]), /nulls.arrow: the column prompt_ids holds null, first in row 2/);
    const one = new Table({ prompt_ids: vectorFromArray([[1]], listOfIds) });
    await assert.rejects(open('one.arrow', [one]), /one.arrow: the column response_ids is missing/);
    const cut = streamFile('cut.arrow', [idsTable(rows)]);
    truncateSync(cut, readFileSync(cut).length - 30);
    await assert.rejects(openTokenSource([cut]), /cut.arrow: the file ends too soon/);
    await assert.rejects(openTokenSource([at('lost.arrow')]), /lost.arrow: there is no such file/);
    await assert.rejects(openTokenSource([folder]), /a folder without data-\*.arrow/);
  });
});

suite('rows of Arrow files', (test) => {
  const pairs = everyPlace(200).map((i) => ({
    id: `p${i}`,
    index: i,
    prompt_ids: [i],
    generated_ids: everyPlace(i % 5),
    ref_real: i / 8,
  }));
  const table = (part: typeof pairs) =>
    new Table({
      id: vectorFromArray(
        part.map(({ id }) => id),
        new Utf8(),
      ),
      index: vectorFromArray(
        part.map(({ index }) => index),
        new Int32(),
      ),
      prompt_ids: vectorFromArray(
        part.map(({ prompt_ids }) => prompt_ids),
        listOfIds,
      ),
      generated_ids: vectorFromArray(
        part.map(({ generated_ids }) => generated_ids),
        listOfIds,
      ),
      ref_real: vectorFromArray(
        part.map(({ ref_real }) => ref_real),
        new Float64(),
      ),
    });
  const files = [0, 1].map((half) =>
    streamFile(
      `pairs-${half}.arrow`,
      everyPlace(5).map((batch) => table(pairs.slice(100 * half + 20 * batch, 100 * half + 20 * batch + 20))),
    ),
  );
  let decoded = 0;
  const open = () =>
    ArrowRows.open(files, (batch, { path }) => {
      decoded += 1;
      const id = stringColumn(batch, 'id', path);
      const index = int32Column(batch, 'index', path);
      const prompt_ids = intListColumn(batch, 'prompt_ids', path);
      const generated_ids = intListColumn(batch, 'generated_ids', path);
      const ref_real = float64Column(batch, 'ref_real', path);
      return (row) => ({
        id: id(row),
        index: index(row),
        prompt_ids: [...prompt_ids(row)],
        generated_ids: [...generated_ids(row)],
        ref_real: ref_real(row),
      });
    });

  test('any places, of columns of each kind', async () => {
    await using rows = await open();
    assert.equal(rows.length, 200);
    assert.deepEqual(rows.batch_rows, Array(10).fill(20));
    const places = [199, 0, 100, 99, 0, 57];
    assert.deepEqual(
      await rows.rows(places),
      places.map((place) => pairs[place]),
    );
    await assert.rejects(rows.rows([200]), RangeError);
    await assert.rejects(rows.rows([-1]), RangeError);
  });

  test('what is expected is read meanwhile, once, and is not waited for', async () => {
    await using rows = await open();
    decoded = 0;
    rows.expect([0, 5, 150]);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(decoded, 2);
    assert.deepEqual(
      (await rows.rows([5, 150])).map(({ index }) => index),
      [5, 150],
    );
    assert.equal(decoded, 2);
    assert.equal(rows.waited_seconds, 0);
    await rows.rows([70]);
    assert.ok(rows.waited_seconds > 0);
  });

  test('a failed read is told to whoever asks, and only then', async () => {
    const path = streamFile('failing.arrow', [table(pairs.slice(0, 20))]);
    let fails = true;
    await using rows = await ArrowRows.open([path], () => {
      if (fails) throw new Error('damaged');
      return (row) => row;
    });
    rows.expect([3]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await assert.rejects(rows.rows([3]), /damaged/);
    fails = false;
    assert.deepEqual(await rows.rows([3]), [3]);
  });

  test('a column of another type is named', async () => {
    await using rows = await ArrowRows.open(files, (batch, { path }) => int32Column(batch, 'id', path));
    await assert.rejects(rows.rows([0]), /pairs-0.arrow: the column id is utf8: int32 is needed/);
  });
});
