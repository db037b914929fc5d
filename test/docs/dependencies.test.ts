// docs/dependencies.md names every package of package.json with its licence, and no other.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { suite } from '../support/suite.js';
import { root } from './blocks.js';

const names = z.record(z.string(), z.string());
const manifest = z
  .object({ dependencies: names, devDependencies: names })
  .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')));

/** Package → licence, of the table below a heading. */
function table(heading: string): Map<string, string> {
  const text = readFileSync(join(root, 'docs/dependencies.md'), 'utf8');
  const section = text.split(`## ${heading}`)[1]?.split('\n## ')[0] ?? '';
  const rows = [...section.matchAll(/^\| (`.*?) \| (.*?) \|/gm)];
  return new Map(
    rows.flatMap(([, packages = '', licences = '']) => {
      const own = [...packages.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
      const each = licences.split(', ');
      return own.map((name, place): [string, string] => [name, each[place] ?? each[0] ?? '']);
    }),
  );
}

function licenceOf(name: string): string {
  const text = readFileSync(join(root, 'node_modules', name, 'package.json'), 'utf8');
  return z.object({ license: z.string() }).parse(JSON.parse(text)).license.replace('OR', 'or');
}

suite('dependencies', (test) => {
  for (const [headings, packages] of [
    [['At run time'], manifest.dependencies],
    [['Bundled into dist/', 'For work on gleaner'], manifest.devDependencies],
  ] as const) {
    test(`${headings.join(', ')}: every package of package.json, with its licence`, () => {
      const found = new Map(headings.flatMap((heading) => [...table(heading)]));
      assert.deepEqual([...found.keys()].sort(), Object.keys(packages).sort());
      for (const [name, licence] of found) assert.equal(licence, licenceOf(name), name);
    });
  }
});
