// Damaged data files: flipped bits, cuts, blocks in the wrong place, huge lengths, foreign bytes, in every format, plain and compressed. Each
// gives rows or one GleanerError, in little time and no more memory than the file warrants.

import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { GleanerError } from '../../src/common/errors.js';
import { readRows, recognise } from '../../src/data/readers.js';
import { goldenFolder } from '../golden/golden.js';
import { change, changed } from '../support/damage.js';
import { suite } from '../support/suite.js';

interface Outcomes {
  rows: number;
  refused: number;
}

/** Reads all rows, or is refused; neither takes long or much. */
async function readAll(path: string, size: number, outcomes: Outcomes): Promise<void> {
  const before = { memory: process.resourceUsage().maxRSS, cpu: process.cpuUsage() };
  try {
    await recognise(path).catch(() => undefined);
    let count = 0;
    for await (const row of readRows([path], { format: 'auto', limit: null })) count += row.id.length > 0 ? 1 : 0;
    assert.ok(count <= 2 ** 17 + 64 * size, `${count} rows`);
    outcomes.rows += 1;
  } catch (error) {
    if (!(error instanceof GleanerError)) throw error;
    assert.equal(error.code, 'ERR_GLEANER_DATA');
    assert.ok(error.message.includes(path) && error.message.length < 700, error.message);
    outcomes.refused += 1;
  }
  const { user, system } = process.cpuUsage(before.cpu);
  assert.ok(user + system < 2e6, `${(user + system) / 1e6} s`);
  const grown = process.resourceUsage().maxRSS - before.memory;
  assert.ok(grown * 1024 < 2 ** 26 + 20 * size, `${grown} KiB more`);
}

async function inTemporary(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'gleaner-damage-'));
  try {
    await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const golden = join(goldenFolder, 'data');
const groups: { what: string; files: RegExp; runs: number; packed?: true }[] = [
  { what: 'JSON lines', files: /\.jsonl$/, runs: 300 },
  { what: 'JSON', files: /\.json$/, runs: 250 },
  { what: 'gzip', files: /\.jsonl\.gz$/, runs: 250 },
  { what: 'JSON lines inside of gzip', files: /\.jsonl\.gz$/, runs: 150, packed: true },
  { what: 'Arrow files', files: /\.plain\.file\.arrow$|^rare\.lists/, runs: 400 },
  { what: 'Arrow streams', files: /\.plain\.stream\.arrow$|^rare\.(large|view|dictionary|replaced)/, runs: 400 },
  { what: 'compressed Arrow', files: /\.(lz4|zstd)\.(file|stream)\.arrow$/, runs: 400 },
  { what: 'plain Parquet', files: /\.none\.parquet$/, runs: 400 },
  { what: 'compressed Parquet', files: /\.(snappy|zstd|gzip|brotli|lz4|delta)\.parquet$/, runs: 450 },
];

suite('damaged data files', (test) => {
  const rejections: unknown[] = [];
  process.on('unhandledRejection', (reason) => rejections.push(reason));
  for (const { what, files, runs, packed = false } of groups) {
    test(`${what}: rows or one error`, () =>
      inTemporary(async (folder) => {
        const all = readdirSync(golden).filter((name) => files.test(name) && name !== 'versions.json');
        assert.ok(all.length >= 3, what);
        const outcomes: Outcomes = { rows: 0, refused: 0 };
        const whole = new Map(all.map((name) => [name, readFileSync(join(golden, name))]));
        const property = fc.asyncProperty(
          fc.constantFrom(...all),
          fc.array(change, { minLength: 1, maxLength: 3 }),
          async (name, changes) => {
            const content = whole.get(name) ?? Buffer.alloc(0);
            const inner = changes.reduce(changed, packed ? gunzipSync(content) : content);
            const path = join(folder, name);
            writeFileSync(path, packed ? gzipSync(inner) : inner);
            await readAll(path, inner.length, outcomes);
          },
        );
        await fc.assert(property, { seed: 23, numRuns: runs, includeErrorInReport: true });
        // Both must happen, or the damage is no test; gzip's checksum finds all but damage to its header.
        assert.ok(outcomes.rows >= (what === 'gzip' ? 0 : 5) && outcomes.refused >= runs / 5, JSON.stringify(outcomes));
      }));
  }
  test('data sets: a damaged list, a damaged or a missing file', () =>
    inTemporary(async (folder) => {
      const outcomes: Outcomes = { rows: 0, refused: 0 };
      const source = join(golden, 'pairs.dataset');
      const path = join(folder, 'd.dataset');
      const names = readdirSync(source);
      const property = fc.asyncProperty(fc.constantFrom(...names), fc.option(change), async (name, how) => {
        cpSync(source, path, { recursive: true });
        if (how === null) unlinkSync(join(path, name));
        else writeFileSync(join(path, name), changed(readFileSync(join(path, name)), how));
        await readAll(
          path,
          names.reduce((sum, each) => sum + statSync(join(source, each)).size, 0),
          outcomes,
        );
        rmSync(path, { recursive: true });
      });
      await fc.assert(property, { seed: 29, numRuns: 250, includeErrorInReport: true });
      assert.ok(outcomes.rows >= 20 && outcomes.refused >= 60, JSON.stringify(outcomes));
    }));
  test('no rejection was left alone', () => assert.deepEqual(rejections, []));
});
