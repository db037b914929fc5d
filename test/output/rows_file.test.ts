// Rows to a file: whole or under another name, and never in the place of what is no file.

import assert from 'node:assert/strict';
import { existsSync, lstatSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RowsFile } from '../../src/output/rows_file.js';
import { assertRejects, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

suite('a file of rows', (test) => {
  test('has its name when it is whole; what a failure leaves stays beside it', async () => {
    const path = join(temporaryFolder(), 'new', 'rows.jsonl');
    {
      await using broken = await RowsFile.create(path);
      await broken.append({ id: 1 });
    }
    assert.ok(!existsSync(path));
    assert.equal(readFileSync(`${path}.part`, 'utf8'), '{"id":1}\n');
    await using file = await RowsFile.create(path);
    await file.append({ id: 2 });
    await file.finish();
    assert.equal(readFileSync(path, 'utf8'), '{"id":2}\n');
    assert.ok(!existsSync(`${path}.part`));
  });

  test('a folder is refused before any work', async () => {
    await assertRejects(() => RowsFile.create(temporaryFolder()), 'ERR_GLEANER_USAGE', /is a folder/);
  });

  test('a link is written through, not replaced: /dev/stdout is one', async () => {
    const folder = temporaryFolder();
    const [target, link] = [join(folder, 'target'), join(folder, 'link')];
    writeFileSync(target, '');
    symlinkSync(target, link);
    await using file = await RowsFile.create(link);
    await file.append({ id: 1 });
    await file.finish();
    assert.ok(lstatSync(link).isSymbolicLink());
    assert.equal(readFileSync(target, 'utf8'), '{"id":1}\n');
  });
});
