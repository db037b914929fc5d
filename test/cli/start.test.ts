// What the command reads before it knows what is asked of it: a start is as long as its code. Seen in the source maps of the bundle.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from '../support/suite.js';

const dist = fileURLToPath(new URL('../../dist/', import.meta.url));

/** The files that an import of `file` reads: `import("…")` is none, its time comes later. */
function reached(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  const text = readFileSync(file, 'utf8');
  for (const [, path = ''] of text.matchAll(/\b(?:from|import)"(\.[^"]+\.js)"/g))
    reached(join(dirname(file), path), found);
  return found;
}

function sourcesOf(file: string): string[] {
  const map: { sources: string[] } = JSON.parse(readFileSync(`${file}.map`, 'utf8'));
  return map.sources;
}

const packageOf = (source: string) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1];

suite('start', (test) => {
  const files = [...reached(join(dist, 'cli/main.js'))];
  const sources = files.flatMap(sourcesOf);
  const packages = new Set(sources.map(packageOf));

  test('the command, the recipe and the training of rows are read', () => {
    for (const name of ['commander', 'yaml', 'zod']) assert.ok(packages.has(name), name);
    assert.ok(sources.some((source) => source.endsWith('src/methods/training_loop.ts')));
  });

  for (const name of ['apache-arrow', 'diff', 'flatbuffers', 'fzstd', 'hyparquet', 'hyparquet-compressors', 'lz4js'])
    test(`${name} waits until it is needed`, () => assert.ok(!packages.has(name)));

  test('piscina and the report wait until they are needed', () => {
    for (const file of files) assert.doesNotMatch(readFileSync(file, 'utf8'), /\bfrom"piscina"/);
    assert.ok(!sources.some((source) => source.includes('src/report/')));
  });
});
