// An import: the ids that training would make itself, the same bytes however often it was broken off, and no mixing of different things.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFileSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';
import { BatchFile } from '../../src/data/arrow/batch_file.js';
import { type ImportOptions, type ImportProgress, importData } from '../../src/data/import/import.js';
import { fromMetadata } from '../../src/data/import/metadata.js';
import { readRows } from '../../src/data/readers.js';
import { RowTokenizer, type TokenizedRow } from '../../src/data/tokenize.js';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import {
  contents,
  importOptions,
  importScript,
  killUntilDone,
  root,
  textRow,
  tokenizerFolder,
  writeRows,
} from '../support/import.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const folder = temporaryFolder();
const at = (...parts: string[]) => join(folder, ...parts);
const small = writeRows(at('small.jsonl'), 3000);
const tokenizer = await Tokenizer.load(tokenizerFolder);

/** What training itself would make of the rows. */
async function expected(
  path: string,
  { max_length, max_prompt_length, limit }: Partial<ImportOptions> = {},
): Promise<{ rows: TokenizedRow[]; tokenizer: RowTokenizer }> {
  const rowTokenizer = new RowTokenizer(tokenizer, {
    template: 'auto',
    bos: 'auto',
    max_length: max_length ?? Number.MAX_SAFE_INTEGER,
    max_prompt_length: max_prompt_length ?? Number.MAX_SAFE_INTEGER,
    max_new_tokens: null,
    eos_token_id: tokenizer.eos_token_id ?? 0,
    vocab: tokenizer.vocab_size,
    paper_compat: false,
  });
  const rows: TokenizedRow[] = [];
  for await (const row of readRows([path], { format: 'auto', limit: limit ?? null })) {
    const ids = rowTokenizer.tokenize(row);
    if (ids) rows.push(ids);
  }
  return { rows, tokenizer: rowTokenizer };
}

function imported(out: string): TokenizedRow[] {
  return Object.entries(contents(out))
    .filter(([name]) => name.endsWith('.arrow'))
    .flatMap(([, bytes]) =>
      tableFromIPC(bytes)
        .toArray()
        .map((row) => ({ id: row.id, prompt_ids: [...row.prompt_ids], response_ids: [...row.response_ids] })),
    );
}

const isUsage = (pattern: RegExp) => (error: unknown) =>
  error instanceof Error &&
  'code' in error &&
  ['ERR_GLEANER_USAGE', 'ERR_GLEANER_DATA'].includes(String(error.code)) &&
  pattern.test(error.message);

suite('import', (test) => {
  test('has the ids, counts and order of training from the source', async () => {
    const { status, summary } = await importData(importOptions([small], at('whole'), { workers: 2 }));
    const { rows, tokenizer: own } = await expected(small);
    assert.equal(status, 'imported');
    assert.deepEqual(imported(at('whole')), rows);
    assert.deepEqual(summary.counts, own.counts);
    assert.equal(summary.first.empty_response, own.firstDropped.empty_response);
    assert.equal(
      summary.tokens.total,
      rows.reduce((sum, { prompt_ids, response_ids }) => sum + prompt_ids.length + response_ids.length, 0),
    );
    assert.equal(
      summary.lengths.total.longest,
      Math.max(...rows.map((row) => row.prompt_ids.length + row.response_ids.length)),
    );
    assert.deepEqual(JSON.parse(readFileSync(at('whole', 'summary.json'), 'utf8')), summary);
    assert.ok(!existsSync(at('whole', 'journal.json')));
  });

  test('cuts and drops as training with the same limits does', async () => {
    const limits = { max_length: 24, max_prompt_length: 6, limit: 1500 };
    const { summary } = await importData(importOptions([small], at('cut'), limits));
    const { rows, tokenizer: own } = await expected(small, limits);
    assert.deepEqual(imported(at('cut')), rows);
    assert.deepEqual(summary.counts, own.counts);
    assert.ok(summary.counts.prompts_cut > 0 && summary.counts.responses_cut > 0);
    assert.match(summary.first.prompts_cut ?? '', /^row row \d+ é$/);
  });

  test('writes the same bytes with any number of workers; files of record batches of 1,024 rows, which say what they are', async () => {
    const files = { shard_bytes: 40_000 };
    await importData(importOptions([small], at('one'), { ...files, workers: 1 }));
    const { summary } = await importData(importOptions([small], at('three'), { ...files, workers: 3 }));
    assert.deepEqual(contents(at('one')), contents(at('three')));
    assert.ok(summary.shards.length >= 2, `${summary.shards.length} files`);
    const batches: number[] = [];
    for (const { file, bytes, rows } of summary.shards) {
      await using batchFile = await BatchFile.open(at('one', file));
      assert.ok(batchFile.complete && batchFile.compression === 'none');
      assert.equal(readFileSync(at('one', file)).length, bytes);
      assert.equal(
        batchFile.batch_rows.reduce((sum, count) => sum + count, 0),
        rows,
      );
      batches.push(...batchFile.batch_rows);
      const { shards, ...told } = summary;
      assert.deepEqual(fromMetadata(batchFile.metadata), told, 'at the start of the file');
      assert.deepEqual(
        fromMetadata(tableFromIPC(contents(at('one'))[file] ?? '').schema.metadata),
        told,
        'in its footer',
      );
    }
    assert.deepEqual(batches.slice(0, -1), Array(batches.length - 1).fill(1024));
  });

  test('has the same ids of the same rows in every format', async () => {
    const golden = join(root, 'test/golden/data');
    const names = ['jsonl', 'jsonl.gz', 'json', 'zstd.stream.arrow', 'lz4.file.arrow', 'snappy.parquet', 'dataset'];
    const ids = async (name: string) => {
      const out = at(`format-${name}`);
      const { summary } = await importData(importOptions([join(golden, `pairs.${name}`)], out, { bos: 'never' }));
      assert.ok(summary.sources.every(({ file }) => file.startsWith(`pairs.${name}`)));
      return imported(out).map(({ prompt_ids, response_ids }) => ({ prompt_ids, response_ids }));
    };
    const [first = [], ...others] = await Promise.all(names.map(ids));
    assert.ok(first.length > 0);
    for (const [place, other] of others.entries()) assert.deepEqual(other, first, names[place + 1]);
  });

  test('run again it does nothing', async () => {
    const before = contents(at('whole'));
    const stages: ImportProgress['stage'][] = [];
    const { status } = await importData(
      importOptions([small], at('whole'), { onProgress: ({ stage }) => stages.push(stage) }),
    );
    assert.equal(status, 'up_to_date');
    assert.ok(!stages.includes('importing'));
    assert.deepEqual(contents(at('whole')), before);
  });

  test('names what is another thing than it was, and starts anew when told to', async () => {
    const source = writeRows(at('changing.jsonl'), 50);
    const tokens = at('tokenizer');
    cpSync(tokenizerFolder, tokens, { recursive: true });
    const options = importOptions([source], at('changed'), { tokenizer: tokens });
    await importData(options);
    await assert.rejects(importData({ ...options, max_length: 30 }), isUsage(/max_length is 30: .* has none/));
    await assert.rejects(importData({ ...options, template: 'chatml' }), isUsage(/template is chatml: .* has auto/));
    await assert.rejects(
      importData({ ...options, sources: [small] }),
      isUsage(/the sources are small.jsonl: .* has changing.jsonl/),
    );
    await assert.rejects(
      importData({ ...options, gleaner_version: '9.9.9' }),
      isUsage(/gleaner 0.0.0-test began .*9.9.9/),
    );
    const config = join(tokens, 'tokenizer_config.json');
    const text = readFileSync(config, 'utf8');
    writeFileSync(config, `${text}\n`);
    await assert.rejects(
      importData(options),
      isUsage(/tokenizer_config.json changed since the import that began here/),
    );
    writeFileSync(config, text);
    writeFileSync(join(tokens, 'chat_template.jinja'), '{{ messages }}');
    await assert.rejects(importData(options), isUsage(/the tokenizer's chat_template.jinja is new since/));
    appendFileSync(source, `${JSON.stringify(textRow(50))}\n`);
    await assert.rejects(
      importData(options),
      isUsage(/changing.jsonl changed since the import that began here; the tok/),
    );
    const { status, summary } = await importData({ ...options, overwrite: true });
    assert.deepEqual([status, summary.counts.read, summary.template.name], ['imported', 51, 'tokenizer']);
  });

  test('a finished import with a damaged or missing file is no import', async () => {
    const options = importOptions([small], at('damaged'), { limit: 100 });
    const { summary } = await importData(options);
    const file = at('damaged', summary.shards[0]?.file ?? '');
    appendFileSync(file, 'x');
    await assert.rejects(
      importData(options),
      isUsage(/data-00000-of-00001.arrow of the finished import has \d+ bytes, not/),
    );
    renameSync(at('damaged', 'summary.json'), at('summary.elsewhere'));
    await assert.rejects(
      importData(options),
      isUsage(/holds data-00000-of-00001.arrow, which no import here explains/),
    );
    await importData({ ...options, overwrite: true });
    writeFileSync(at('damaged', 'summary.json'), '{}');
    await assert.rejects(importData(options), isUsage(/summary.json: damaged/));
  });

  test('overwrite removes an import and nothing else', async () => {
    mkdirSync(at('mine'));
    writeFileSync(at('mine', 'notes.txt'), 'mine');
    writeFileSync(at('mine', 'data-00007.arrow.part'), 'old');
    await importData(importOptions([small], at('mine'), { limit: 10, overwrite: true }));
    assert.deepEqual(Object.keys(contents(at('mine'))), ['data-00000-of-00001.arrow', 'notes.txt', 'summary.json']);
  });

  test('a row in error ends it with the row’s line; settings that do not fit leave nothing', async () => {
    const source = at('wrong.jsonl');
    writeFileSync(source, `${JSON.stringify(textRow(0))}\n{"prompt": 3, "response": ""}\n`);
    await assert.rejects(importData(importOptions([source], at('wrong'))), isUsage(/wrong.jsonl:2: prompt is 3/));
    writeRows(source, 2);
    assert.equal((await importData(importOptions([source], at('wrong')))).status, 'imported', 'no row stood yet');
    await assert.rejects(
      importData(importOptions([source], at('bos'), { bos: 'always' })),
      isUsage(/bos: always, but this tokenizer has no BOS/),
    );
    assert.ok(!existsSync(at('bos')));
    const prompts = at('prompts.jsonl');
    writeFileSync(prompts, '{"prompt": "only"}\n');
    await assert.rejects(
      importData(importOptions([prompts], at('prompts'))),
      isUsage(/row prompts.jsonl:1: a prompt without a response/),
    );
  });

  test('no row at all leaves nothing behind and says why', async () => {
    const source = at('empty.jsonl');
    writeFileSync(source, '{"prompt": "a", "response": ""}\n{"prompt": "b", "response": ""}\n');
    await assert.rejects(importData(importOptions([source], at('none'))), isUsage(/no row to import among 2/));
    assert.deepEqual(contents(at('none')), {});
  });
});

suite('import, broken off', (test) => {
  const source = writeRows(at('large.jsonl'), 6000);

  test('by kill -9, it goes on and ends in the same bytes', async () => {
    const { summary } = await importData(importOptions([source], at('unbroken'), { shard_bytes: 60_000 }));
    assert.ok(summary.shards.length > 2);
    const kills = await killUntilDone(source, at('killed'), 3);
    assert.ok(kills >= 2, `${kills} kills`);
    assert.deepEqual(contents(at('killed')), contents(at('unbroken')));
  });

  test('while files get their names, it goes on and ends in the same bytes', async () => {
    const abort = new AbortController();
    const options = importOptions([source], at('sealing'), {
      shard_bytes: 60_000,
      onProgress: (event) => {
        if (event.stage === 'importing' && event.rows === 6000) abort.abort('stop');
      },
    });
    await assert.rejects(importData({ ...options, signal: abort.signal }), { name: 'AbortError' });
    // The first has its name, and a footer that was only begun.
    const count = Object.keys(contents(at('sealing'))).filter((name) => name.endsWith('.part')).length;
    const name = `data-00000-of-${String(count).padStart(5, '0')}.arrow`;
    renameSync(at('sealing', 'data-00000.arrow.part'), at('sealing', name));
    appendFileSync(at('sealing', name), 'half a footer');
    const { status } = await importData(options);
    assert.equal(status, 'resumed');
    assert.deepEqual(contents(at('sealing')), contents(at('unbroken')));
  });

  test('what it went on from has to be the same', async () => {
    const abort = new AbortController();
    const options = importOptions([source], at('stopped'), {
      journal_every_ms: 0,
      onProgress: (event) => {
        if (event.stage === 'importing' && event.rows > 3000) abort.abort();
      },
    });
    await assert.rejects(importData({ ...options, signal: abort.signal }), { name: 'AbortError' });
    await assert.rejects(importData({ ...options, max_length: 9, max_prompt_length: 4 }), isUsage(/max_length is 9/));
    const journal = JSON.parse(readFileSync(at('stopped', 'journal.json'), 'utf8'));
    assert.ok(journal.counts.read >= 1024);
    writeFileSync(at('stopped', 'data-00000.arrow.part'), 'short');
    await assert.rejects(importData(options), isUsage(/what the import wrote is not there any more/));
    const { status } = await importData({ ...options, overwrite: true });
    assert.equal(status, 'imported');
  });
});

suite('import, the disk', (test) => {
  const import_ = (source: string, out: string, before: string): Promise<{ code: number | null; stderr: string }> =>
    new Promise((resolve) => {
      const command = `${before}; exec "$0" --import tsx "$@"`;
      const child = spawn('bash', ['-c', command, process.execPath, importScript, source, out, '100000000'], {
        cwd: root,
      });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      child.stdout.resume();
      child.on('close', (code) => resolve({ code, stderr }));
    });

  test('full: an error that names the file; with room again it goes on', async () => {
    const source = at('large.jsonl');
    const full = await import_(source, at('full'), 'ulimit -f 100'); // KiB, of any file
    assert.equal(full.code, 1);
    assert.match(full.stderr, /data-00000.arrow.part: cannot be written/);
    assert.match(full.stderr, /ERR_GLEANER_DISK/);
    const { status } = await importData(importOptions([source], at('full'), { shard_bytes: 100_000_000 }));
    assert.equal(status, 'resumed');
    const { status: other } = await importData(importOptions([source], at('roomy'), { shard_bytes: 100_000_000 }));
    assert.equal(other, 'imported');
    assert.deepEqual(contents(at('full')), contents(at('roomy')));
  });

  test('a folder that cannot be written, and one that is a file', async () => {
    await assert.rejects(
      importData(importOptions([small], '/proc/gleaner-import')),
      (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ERR_GLEANER_DISK',
    );
    await assert.rejects(importData(importOptions([small], small)), isUsage(/small.jsonl is a file/));
    await assert.rejects(
      importData(importOptions([at('lost.jsonl')], at('lost'))),
      isUsage(/lost.jsonl: there is no such file/),
    );
  });
});
