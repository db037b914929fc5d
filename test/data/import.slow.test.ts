// An import that is killed many times, also before its first record batch stands.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { importData } from '../../src/data/import/import.js';
import { contents, importOptions, killUntilDone, writeRows } from '../support/import.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const folder = temporaryFolder();

suite('import, killed again and again', (test) => {
  test('ends in the same bytes', async () => {
    const source = writeRows(join(folder, 'rows.jsonl'), 20_000);
    await importData(importOptions([source], join(folder, 'unbroken'), { shard_bytes: 60_000 }));
    const kills = await killUntilDone(source, join(folder, 'killed'), 0);
    assert.ok(kills >= 10, `${kills} kills`);
    assert.deepEqual(contents(join(folder, 'killed')), contents(join(folder, 'unbroken')));
  });
});
