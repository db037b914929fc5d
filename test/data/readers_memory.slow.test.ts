// Files of 200 MB: memory stays that of a row, a record batch, a row group. Each is read by a process of its own, whose peak counts.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createWriteStream, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import { createGzip } from 'node:zlib';
import { Table, tableToIPC, Utf8, vectorFromArray } from 'apache-arrow';
import { suite } from '../support/suite.js';

const readers = new URL('../../src/data/readers.ts', import.meta.url).href;
const rows = 400_000;
/** About 500 bytes a row that compress to about half. */
const response = (row: number) =>
  Array.from({ length: 60 }, (_, word) => Math.floor(((row + 1) * (word + 7) * 2654435761) % 1e7)).join(' ');

async function read(path: string): Promise<{ count: number; characters: number; peak: number }> {
  const script = `
    import { readRows } from ${JSON.stringify(readers)};
    let [count, characters] = [0, 0];
    for await (const row of readRows([${JSON.stringify(path)}], { format: 'auto', limit: null })) {
      count += 1;
      characters += row.response.length;
    }
    console.log(JSON.stringify({ count, characters, peak: process.resourceUsage().maxRSS / 1024 }));`;
  const { stdout } = await promisify(execFile)(process.execPath, [
    '--import',
    'tsx',
    '--input-type=module',
    '-e',
    script,
  ]);
  return JSON.parse(stdout);
}

suite('large files', (test) => {
  const folder = mkdtempSync(join(tmpdir(), 'gleaner-large-'));
  test.after(() => rmSync(folder, { recursive: true }));
  let nothing = 0;
  test('a small file, to compare with', async () => {
    const path = join(folder, 's.jsonl');
    writeFileSync(path, JSON.stringify({ prompt: 'p', response: 'r' }));
    nothing = (await read(path)).peak;
    assert.ok(nothing > 30);
  });
  const check = async (path: string) => {
    const { count, characters, peak } = await read(path);
    assert.equal(count, rows);
    assert.ok(characters > 180e6, `${characters}`);
    assert.ok(peak - nothing < 150, `${peak} MiB, ${nothing} without a file`);
  };
  test('.jsonl.gz', async () => {
    const path = join(folder, 'd.jsonl.gz');
    function* lines() {
      for (let row = 0; row < rows; ++row)
        yield `${JSON.stringify({ prompt: `row ${row}`, response: response(row) })}\n`;
    }
    await pipeline(Readable.from(lines()), createGzip({ level: 1 }), createWriteStream(path));
    await check(path);
    rmSync(path);
  });
  test('.arrow', async () => {
    const path = join(folder, 'd.arrow');
    // One stream out of many: their schemas (the first message) and end marks (8 bytes) but for the first and the last one's.
    function* batches() {
      for (let begin = 0; begin < rows; begin += 1000) {
        const places = Array.from({ length: 1000 }, (_, at) => begin + at);
        const column = (make: (row: number) => string) => vectorFromArray(places.map(make), new Utf8());
        const table = new Table({ prompt: column((row) => `row ${row}`), response: column(response) });
        const bytes = Buffer.from(tableToIPC(table, 'stream'));
        yield bytes.subarray(begin === 0 ? 0 : 8 + bytes.readInt32LE(4), bytes.length - (begin + 1000 < rows ? 8 : 0));
      }
    }
    await pipeline(Readable.from(batches()), createWriteStream(path));
    assert.ok(statSync(path).size > 180e6);
    await check(path);
  });
});
