// The same rows from every format (test/golden/make/data_files.py), from folders and splits; what a file was taken for is told; cut and foreign
// files are refused.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { RecordBatchStreamWriter, tableFromArrays, tableToIPC } from 'apache-arrow';
import { BatchFile } from '../../src/data/arrow/batch_file.js';
import { maxRowBytes } from '../../src/data/chunks.js';
import { readRows, recognise } from '../../src/data/readers.js';
import type { Row } from '../../src/data/rows.js';
import { goldenFolder } from '../golden/golden.js';
import { assertRejects, sharedData, suite } from '../support/suite.js';
import { inFolder } from './golden.js';

const golden = join(goldenFolder, 'data');
const names = readdirSync(golden);

async function rowsOf(...paths: string[]): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of readRows(paths, { format: 'auto', limit: null })) rows.push(row);
  return rows;
}

const refused = (path: string, message: RegExp) => assertRejects(() => rowsOf(path), 'ERR_GLEANER_DATA', message);
const read = (name: string) => readFileSync(join(golden, name));

suite('Arrow files of other writers', (test) => {
  test('a schema that stands in the footer alone is found there', () =>
    inFolder({}, async (folder) => {
      const path = join(folder, 'footer.arrow');
      const table = tableFromArrays({ id: ['x', 'y'], prompt: ['a', 'b'], response: ['1', '2'] });
      await writeFile(path, tableToIPC(table, 'file'));
      assert.deepEqual(await rowsOf(path), [
        { kind: 'prompt_response', id: 'x', prompt: 'a', response: '1' },
        { kind: 'prompt_response', id: 'y', prompt: 'b', response: '2' },
      ]);
    }));
});

suite('the same rows in every format', (test) => {
  for (const kind of ['pairs', 'chats', 'ids', 'preferences']) {
    const others = names.filter((name) => name.startsWith(`${kind}.`) && name !== `${kind}.jsonl`);
    test(`${kind}: ${others.length} formats`, async () => {
      assert.ok(others.length >= 6);
      const wanted = await rowsOf(join(golden, `${kind}.jsonl`));
      assert.equal(wanted.length, 25);
      for (const name of others) assert.deepEqual(await rowsOf(join(golden, name)), wanted, name);
    });
  }
  test('large, viewed and dictionary texts, delta, gzip, brotli, lz4 and second pages', async () => {
    const wanted = await rowsOf(join(golden, 'pairs.jsonl'));
    const rare = names.filter((name) => /^rare\.(large|view|dictionary|brotli|gzip|lz4|delta)\./.test(name));
    assert.equal(rare.length, 7);
    for (const name of rare) assert.deepEqual(await rowsOf(join(golden, name)), wanted, name);
    assert.deepEqual(await rowsOf(join(golden, 'rare.lists.arrow')), await rowsOf(join(golden, 'ids.jsonl')));
  });
  test('a stream whose batches bring dictionaries of their own', async () => {
    const rows = await rowsOf(join(golden, 'rare.replaced.arrow'));
    assert.deepEqual(
      rows.map((row) => row.kind === 'prompt_response' && row.response),
      ['0a', '0b', '0a', '1a', '1b', '1a', '2a', '2b', '2a'],
    );
    assert.equal(rows[4]?.id, 'rare.replaced.arrow:5');
  });
  test('limit counts over files of several formats', async () => {
    const paths = ['pairs.zstd.stream.arrow', 'pairs.dataset', 'pairs.snappy.parquet'].map((name) =>
      join(golden, name),
    );
    let count = 0;
    for await (const _ of readRows(paths, { format: 'auto', limit: 60 })) count += 1;
    assert.equal(count, 60);
  });
});

suite('record batches', (test) => {
  test('any number of reads at once, columns are views into one buffer', async () => {
    await using file = await BatchFile.open(join(golden, 'ids.plain.stream.arrow'));
    assert.deepEqual(file.batch_rows, [10, 10, 5]);
    const order = [2, 0, 1, 0, 2, 2, 1];
    const batches = await Promise.all(order.map((batch) => file.read(batch)));
    assert.deepEqual(
      batches.map(({ numRows }) => numRows),
      [5, 10, 10, 10, 5, 5, 10],
    );
    const list = batches[0]?.getChild('prompt_ids')?.data[0];
    assert.ok(list !== undefined);
    assert.equal(list.valueOffsets.buffer, list.children[0]?.values.buffer);
    assert.deepEqual(
      [...(list.children[0]?.values.subarray(list.valueOffsets[3], list.valueOffsets[4]) ?? [])],
      [1, 2],
    );
  });
  test('metadata of the schema', async () => {
    await inFolder({}, async (folder) => {
      const path = join(folder, 'm.arrow');
      const table = tableFromArrays({ prompt_ids: Int32Array.from([1, 2]) });
      table.schema.metadata.set('template', 'zephyr');
      const writer = RecordBatchStreamWriter.writeAll(table);
      writeFileSync(path, await writer.toUint8Array());
      await using file = await BatchFile.open(path);
      assert.deepEqual([...file.metadata], [['template', 'zephyr']]);
      assert.ok(file.complete);
    });
  });
  for (const form of ['stream', 'file']) {
    test(`a ${form} that is cut anywhere is told from a whole one`, async () => {
      const bytes = read(`ids.plain.${form}.arrow`);
      await inFolder({}, async (folder) => {
        const path = join(folder, 'cut.arrow');
        writeFileSync(path, bytes);
        const whole = await BatchFile.open(path);
        assert.ok(whole.complete);
        if (form === 'stream') assert.equal(whole.whole_bytes, bytes.length - 8); // the end mark can be written anew
        await whole.close();
        let opened = 0;
        const ends = new Set<number>();
        for (let size = bytes.length - 1; size >= 0; size -= 7) {
          truncateSync(path, size);
          const file = await BatchFile.open(path).catch(() => undefined);
          if (file === undefined) continue;
          opened += 1;
          // A stream without its end mark, cut between two messages, is whole as far as anyone can tell.
          assert.equal(file.complete, form === 'stream' && file.whole_bytes === size, `${size}`);
          assert.ok(file.whole_bytes <= size);
          ends.add(file.whole_bytes);
          for (const batch of file.batch_rows.keys()) await file.read(batch);
          await file.close();
        }
        assert.ok(opened > 50 && ends.size >= 4, `${opened} ${ends.size}`);
      });
    });
  }
  test('half a file is not read as a whole one', async () => {
    await inFolder({ 'd.arrow': read('ids.plain.stream.arrow').subarray(0, 1800) }, (folder) =>
      refused(join(folder, 'd.arrow'), /d\.arrow: the file ends in the middle: \d record batch(es)? \(\d+ rows\)/),
    );
  });
});

suite('gzip', (test) => {
  test('a file that is cut says how far it went', async () => {
    const lines = Array.from({ length: 40_000 }, (_, row) => JSON.stringify({ text: `row ${row} ${Math.sin(row)}` }));
    const bytes = gzipSync(`${lines.join('\n')}\n`);
    await inFolder({ 'd.jsonl.gz': bytes.subarray(0, bytes.length >> 1) }, async (folder) => {
      let count = 0;
      const work = async () => {
        for await (const _ of readRows([join(folder, 'd.jsonl.gz')], { format: 'auto', limit: null })) count += 1;
      };
      const error = await assertRejects(work, 'ERR_GLEANER_DATA', /d\.jsonl\.gz:\d+: the gzip data end here/);
      assert.ok(count > 5000 && count < 35_000);
      assert.equal(Number(/gz:(\d+)/.exec(error.message)?.[1]), count + 1);
    });
  });
  test('gzip under another name, JSON in gzip, an empty member', async () => {
    const row = '{"text": "t"}';
    const empty = gzipSync('');
    const files = {
      'a.jsonl': gzipSync(row),
      'b.json.gz': gzipSync(`[${row}]`),
      'c.gz': gzipSync(row),
      'd.jsonl.gz': Buffer.concat([empty, gzipSync(row), empty]),
    };
    await inFolder(files, async (folder) => {
      for (const name of Object.keys(files)) assert.equal((await rowsOf(join(folder, name))).length, 1, name);
      writeFileSync(join(folder, 'e.jsonl.gz'), Buffer.from([0x1f, 0x8b, 9, 9, 9, 9]));
      await refused(join(folder, 'e.jsonl.gz'), /e\.jsonl\.gz:1: damaged gzip data/);
      writeFileSync(join(folder, 'f.jsonl.gz'), gzipSync(Buffer.alloc(maxRowBytes + 1, 'x')));
      await refused(join(folder, 'f.jsonl.gz'), /f\.jsonl\.gz:1: this row is longer than 64 MiB/);
    });
  });
});

suite('folders', (test) => {
  test('shards in the order of their names', async () => {
    const line = (text: string) => JSON.stringify({ text });
    await inFolder(
      { 'b.jsonl': line('2'), 'a.jsonl': line('1'), 'c.jsonl.gz': gzipSync(line('3')), 'README.md': '' },
      async (folder) => {
        assert.deepEqual(
          (await rowsOf(folder)).map((row) => `${row.id} ${row.kind === 'text' && row.text}`),
          ['a.jsonl:1 1', 'b.jsonl:1 2', 'c.jsonl.gz:1 3'],
        );
        assert.match((await recognise(folder)).detail, /^folder, 3 files: JSON lines in the first$/);
      },
    );
  });
  test('several splits, several formats and nothing are refused', async () => {
    await inFolder({ 'train-00000-of-00001.jsonl': '', 'test-00000-of-00001.jsonl': '' }, (folder) =>
      refused(folder, /a folder with several splits: test, train/),
    );
    await inFolder({ 'train.jsonl': '', 'dev.jsonl': '' }, (folder) => refused(folder, /several splits: dev, train/));
    await inFolder({ 'a.jsonl': '', 'b.parquet': '' }, (folder) => refused(folder, /several formats: jsonl, parquet/));
    await inFolder({ 'config.json': '{}' }, (folder) => refused(folder, /this is a folder without data/));
    await refused(join(golden, 'rare.splits'), /a data set with the splits train, test/);
    assert.equal((await rowsOf(join(golden, 'rare.splits', 'train'))).length, 2);
  });
  test('a data set of one split is read; its list of files cannot lead out of the folder', async () => {
    await inFolder({ 'dataset_dict.json': '{"splits": ["train"]}' }, async (folder) => {
      mkdirSync(join(folder, 'train'));
      for (const name of readdirSync(join(golden, 'ids.dataset')))
        copyFileSync(join(golden, 'ids.dataset', name), join(folder, 'train', name));
      assert.equal((await rowsOf(folder)).length, 25);
      const state = join(folder, 'train', 'state.json');
      for (const name of ['../x.arrow', '/etc/passwd', '', '..', 'a\\b', 'a\0b']) {
        writeFileSync(state, JSON.stringify({ _data_files: [{ filename: name }] }));
        await refused(folder, /state\.json: ".*" is not the name of a file in this folder/);
      }
      writeFileSync(state, '{"_data_files": 3}');
      await refused(folder, /state\.json: it lacks its list _data_files/);
      writeFileSync(state, '{');
      await refused(folder, /state\.json: not JSON/);
      writeFileSync(state, '{"_data_files": [{"filename": "gone.arrow"}]}');
      await refused(folder, /gone\.arrow: there is no such file/);
    });
  });
});

suite('what a file was taken for', (test) => {
  const told: [string, string][] = [
    ['pairs.jsonl', 'JSON lines'],
    ['pairs.jsonl.gz', 'JSON lines, gzip'],
    ['pairs.json', 'JSON'],
    ['pairs.zstd.stream.arrow', 'Arrow stream, 3 record batches, 25 rows, zstd'],
    ['pairs.plain.file.arrow', 'Arrow file, 3 record batches, 25 rows'],
    ['pairs.snappy.parquet', 'Parquet, 3 row groups, 25 rows, snappy'],
    ['pairs.dataset', 'Hugging Face data set, 2 files: Arrow stream, 1 record batch, 13 rows in the first'],
  ];
  for (const [name, detail] of told)
    test(name, async () => assert.equal((await recognise(join(golden, name))).detail, detail));
  test('what it begins with counts more than its name', async () => {
    const files = {
      'a.txt': '{"text": "t"}\n',
      b: '[{"text": "t"}]',
      'c.dat': '{\n"text": "t"\n}',
      'd.json': read('pairs.plain.file.arrow'),
      e: read('pairs.zstd.stream.arrow'),
      f: read('pairs.snappy.parquet'),
    };
    await inFolder(files, async (folder) => {
      const formats = [];
      for (const name of Object.keys(files)) formats.push((await recognise(join(folder, name))).format);
      assert.deepEqual(formats, ['jsonl', 'json', 'json', 'arrow', 'arrow', 'parquet']);
    });
  });
  test('a pipe is read once, by the format that was named', async () => {
    await inFolder({}, async (folder) => {
      const pipe = join(folder, 'pipe');
      execFileSync('mkfifo', [pipe]);
      await refused(pipe, /neither its name nor its first bytes/);
      const [rows] = await Promise.all([
        (async () => {
          let count = 0;
          for await (const _ of readRows([pipe], { format: 'jsonl', limit: null })) count += 1;
          return count;
        })(),
        writeFile(pipe, read('pairs.jsonl')),
      ]);
      assert.equal(rows, 25);
    });
  });
  test('other things are refused by name', async () => {
    const files: [string, string | Uint8Array, RegExp][] = [
      ['a.jsonl', Buffer.from('28b52ffd00', 'hex'), /a compressed file, which is not read/],
      ['a.csv', 'prompt,response\n', /a file without the names of a row/],
      ['a.feather', 'FEA1xxxx', /Feather file of version 1/],
      ['a.arrow', 'hello, world, hello', /a\.arrow: not a whole Arrow file: it does not begin with a schema/],
      ['a.arrow', '', /a\.arrow: not a whole Arrow file: it ends before its schema does/],
      ['a.parquet', 'PAR1', /a\.parquet: not a whole Parquet file: 4 bytes are too few/],
      ['a.parquet', read('pairs.zstd.parquet').subarray(0, 3000), /it does not end with PAR1/],
      ['a.bin', 'hello', /neither its name nor its first bytes tell the format/],
    ];
    for (const [name, content, message] of files)
      await inFolder({ [name]: content }, (folder) => refused(join(folder, name), message));
  });
});

const shared = sharedData();
if (shared !== undefined) {
  suite('the shared data', (test) => {
    const counts: [string, number, string][] = [
      ['demo/tinystories_train.jsonl', 1817, 'prompt_response'],
      ['demo/spin_iter0.jsonl', 500, 'messages'],
      ['hh/helpful-base-test80.jsonl.gz', 1915, 'preference'],
      ['hh/harmless-base-test80.jsonl.gz', 1826, 'preference'],
      ['hh/helpful-online-test80.jsonl.gz', 913, 'preference'],
      ['hh/helpful-rejection-sampled-test80.jsonl.gz', 2173, 'preference'],
      ['hh/helpful-train2000.jsonl.gz', 2000, 'preference'],
      ['chat/hh_multiturn_1500.jsonl', 1500, 'messages'],
      ['chat/dolly_2000.jsonl', 2000, 'messages'],
      ['chat/preferences_dpo_en_300.jsonl', 300, 'preference'],
    ];
    test('every file has the rows that its list tells', async () => {
      for (const [name, count, kind] of counts) {
        const rows = await rowsOf(join(shared, name));
        assert.deepEqual([rows.length, [...new Set(rows.map((row) => row.kind))]], [count, [kind]], name);
      }
    });
    test('data sets and Parquet files that datasets wrote', async () => {
      const arrow = join(shared, 'demo/arrow');
      const stories = await rowsOf(join(shared, 'demo/tinystories_dev.jsonl'));
      assert.equal(stories.length, 444);
      assert.deepEqual(await rowsOf(join(arrow, 'tinystories_dev')), stories);
      assert.deepEqual(await rowsOf(join(arrow, 'tinystories_dev.parquet')), stories);
      const chats = (await rowsOf(join(shared, 'chat/hh_multiturn_1500.jsonl'))).slice(0, 200);
      assert.deepEqual(await rowsOf(join(arrow, 'hh_multiturn_200')), chats);
      assert.deepEqual(await rowsOf(join(arrow, 'hh_multiturn_200.parquet')), chats);
    });
    test('transcripts: the prompt goes up to the last answer, few pairs differ before it', async () => {
      const rows = await rowsOf(join(shared, 'hh/helpful-base-test80.jsonl.gz'));
      let differ = 0;
      for (const row of rows) {
        assert.ok(row.kind === 'preference' && 'prompt' in row);
        assert.ok(row.prompt.startsWith('\n\nHuman:') && row.prompt.endsWith('\n\nAssistant:'));
        assert.ok(!row.chosen.includes('\n\nAssistant:'));
        if (row.prompts_differ) differ += 1;
      }
      assert.equal(differ, 6);
    });
  });
}
