// docs/api.md is what scripts/docs.mjs writes of the code as it is.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from '../support/suite.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

suite('API reference', (test) => {
  test('is what the code says', () => {
    const { status, stderr } = spawnSync(process.execPath, [join(root, 'scripts/docs.mjs'), '--check'], {
      encoding: 'utf8',
    });
    assert.equal(status, 0, stderr);
  });

  test('has everything that src/index.ts exports', () => {
    const index = readFileSync(join(root, 'src/index.ts'), 'utf8');
    const names = [...index.matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap((match) => (match[1] ?? '').split(','));
    const exported = names.map((name) => name.replace(/\btype\b/, '').trim()).filter((name) => name !== '');
    assert.ok(exported.length > 30);
    const page = readFileSync(join(root, 'docs/api.md'), 'utf8');
    for (const name of exported) assert.match(page, new RegExp(`^### ${name}(\\\\\\(\\\\\\)|\\(\\))?$`, 'm'), name);
  });
});
