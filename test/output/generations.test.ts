// What a round's texts are written as is what is read, and what is no such file is said.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromArrays, tableToIPC } from 'apache-arrow';
import { type GenerationRow, readGenerations, writeGenerations } from '../../src/output/generations.js';
import { assertRejects, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const rows: GenerationRow[] = ['', 'ein Satz — 文', '</script>\u2028\0'].map((response, place) => ({
  id: `row ${place}`,
  prompt_ids: Int32Array.from({ length: place }, (_, token) => token + 3),
  response_ids: Int32Array.from([7, 2 ** 31 - 1]),
  logprob: -place / 3,
  finish_reason: 'eos',
  prompt: `p${place}`,
  response,
  demonstration: `real ${place}`,
  index: place,
  demonstration_ids: Int32Array.from([3]),
  token_logprobs: Float32Array.from([-0.5, -1]),
}));

suite('generations', (test) => {
  test('are read as they were written, whole or the first of them', async () => {
    const path = join(temporaryFolder(), 'generations.arrow');
    await writeGenerations(path, rows);
    assert.deepEqual(await readGenerations(path), { rows, num_rows: 3 });
    assert.deepEqual(await readGenerations(path, { limit: 1 }), { rows: rows.slice(0, 1), num_rows: 3 });
    await writeGenerations(path, []);
    assert.deepEqual(await readGenerations(path), { rows: [], num_rows: 0 });
  });

  test('what is no such file is one error that names it', async () => {
    const path = join(temporaryFolder(), 'generations.arrow');
    const refused = (pattern: RegExp) => assertRejects(() => readGenerations(path), 'ERR_GLEANER_DATA', pattern);
    await refused(/generations\.arrow: not an Arrow file of generations: there is no such file/);
    writeFileSync(path, 'no Arrow');
    await refused(/not an Arrow file/);
    writeFileSync(path, tableToIPC(tableFromArrays({ id: ['a'] }), 'stream'));
    await refused(/column/);
    await writeGenerations(path, rows);
    const whole = readFileSync(path);
    for (let length = 0; length < whole.length; length += 97) {
      writeFileSync(path, whole.subarray(0, length));
      await readGenerations(path).catch((error: Error) => assert.match(error.message, /not an Arrow file/));
    }
  });
});
