// Where the files of this example lie.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Row, readRows } from '../../src/index.js';

const here = fileURLToPath(new URL('.', import.meta.url));

export type Demonstrations = 'clean' | 'corrupted';

/** The share of demonstrations that a clerk wrote who is not careful. */
export const CORRUPTED: Readonly<Record<Demonstrations, number>> = { clean: 0, corrupted: 0.3 };

export const files = {
  base: (seed: number) => join(here, 'base', String(seed)),
  demonstrations: (seed: number, kind: Demonstrations) => join(here, 'data', `demonstrations-${seed}-${kind}.jsonl`),
  dev: join(here, 'data', 'dev.jsonl'),
  test: join(here, 'data', 'test.jsonl'),
};

export async function writeJsonl(path: string, rows: readonly object[]): Promise<void> {
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
}

export async function readJsonl(path: string): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const row of readRows([path], { format: 'jsonl', limit: null })) rows.push(row);
  return rows;
}
