// A million rows, 1.2 GB, go by in an order's windows: memory stays that of the windows, and who works meanwhile does not wait.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { ShardFile } from '../../src/data/import/shard.js';
import { BATCH_ROWS } from '../../src/data/stream/row_source.js';
import { root } from '../support/import.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const ROWS = 1_000_000;
const FILES = 5;
const folder = temporaryFolder();
const script = fileURLToPath(new URL('../support/stream_rows.ts', import.meta.url));

/** Rows of 100 to 480 tokens, 290 in the mean. */
async function writeFiles(): Promise<number> {
  const pool = Int32Array.from({ length: 4096 }, (_, place) => (place * 7919) % 50_000);
  let tokens = 0;
  let row = 0;
  for (let file = 0; file < FILES; ++file) {
    const part = join(folder, 'part');
    const shard = await ShardFile.create(part, new Map());
    while (row < ((file + 1) * ROWS) / FILES) {
      const count = Math.min(BATCH_ROWS, ((file + 1) * ROWS) / FILES - row);
      const rows = Array.from({ length: count }, (_, place) => row + place);
      const long = (one: number) => 80 + ((one * 31) % 381);
      await shard.append({
        ids: rows.map((one) => `row-${one}`),
        prompt_ids: rows.map((one) => pool.subarray(one % 1000, (one % 1000) + 20)),
        response_ids: rows.map((one) => pool.subarray(one % 3000, (one % 3000) + long(one))),
      });
      tokens += rows.reduce((sum, one) => sum + 20 + long(one), 0);
      row += count;
    }
    await shard.seal(new Map());
    await shard.close();
    renameSync(part, join(folder, `data-0000${file}-of-0000${FILES}.arrow`));
  }
  return tokens;
}

const shape = z.object({
  rows: z.int(),
  tokens: z.int(),
  ids: z.int(),
  open_seconds: z.number(),
  seconds: z.number(),
  waited_seconds: z.number(),
  grown_bytes: z.number(),
});

function pass(...args: readonly string[]): Promise<z.infer<typeof shape>> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', script, folder, ...args], { cwd: root });
    let told = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      told += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    child.on('close', (code) => {
      if (code !== 0) reject(new Error(errors));
      else {
        console.log(told);
        resolve(shape.parse(JSON.parse(told)));
      }
    });
  });
}

suite('a million rows', (test) => {
  let tokens = 0;
  test.before(async () => {
    tokens = await writeFiles();
  });
  test.after(() => rmSync(folder, { recursive: true, force: true }));

  test('all go by, each once, in less than 300 MB', async () => {
    const { rows, tokens: seen, ids, grown_bytes } = await pass('64');
    assert.equal(rows, ROWS);
    assert.equal(seen, tokens);
    assert.equal(ids, (ROWS * (ROWS - 1)) / 2);
    assert.ok(grown_bytes < 300e6, `${Math.round(grown_bytes / 1e6)} MB`);
  });

  test('who works 20 ms at eight rows waits less than a hundredth of the time', async () => {
    const { seconds, waited_seconds } = await pass('8', '20', '20000');
    assert.ok(waited_seconds < 0.01 * seconds, `${waited_seconds} of ${seconds} s`);
  });
});
