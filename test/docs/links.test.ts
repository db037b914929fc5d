// Links inside of the documents lead somewhere: to a file that exists, and to a heading that stands in it.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from '../support/suite.js';
import { documents, root } from './blocks.js';

/** As GitHub makes them. */
function anchors(path: string): Set<string> {
  const headings = readFileSync(path, 'utf8').matchAll(/^#+ (.*)$/gm);
  const slug = (text: string) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .trim()
      .replaceAll(' ', '-');
  return new Set([...headings].map((match) => slug(match[1] ?? '')));
}

function broken(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8').replace(/```[\s\S]*?```/g, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap((match) => {
    const [path = '', anchor] = (match[1] ?? '').split('#');
    if (/^[a-z]+:/.test(path)) return [];
    const target = path === '' ? join(root, file) : join(root, dirname(file), path);
    if (!existsSync(target)) return [`${file}: ${match[1]}`];
    return anchor !== undefined && target.endsWith('.md') && !anchors(target).has(anchor)
      ? [`${file}: ${match[1]}`]
      : [];
  });
}

suite('links', (test) => {
  test('lead somewhere', () => assert.deepEqual([...documents(), 'docs/README.md'].flatMap(broken), []));
});
