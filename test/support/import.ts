// Imports for tests: a small tokenizer of the repository, rows made from a seed, and the bytes of all that an import wrote.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { randomUnit } from '../../src/common/philox.js';
import type { ImportOptions } from '../../src/data/import/import.js';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const importScript = fileURLToPath(new URL('./import_process.ts', import.meta.url));
export const tokenizerFolder = fileURLToPath(new URL('../../examples/quickstart/base/1', import.meta.url));

const words = 'the cat sat on a mat and saw the dog run to a tree with red fruit while rain fell on grey stones'.split(
  ' ',
);

/** Row i: always the same; some have no answer, some a long one. */
export function textRow(i: number): { id: string; prompt: string; response: string } {
  const text = (part: number, count: number) =>
    Array.from(
      { length: count },
      (_, at) => words[Math.floor(randomUnit(5, 'rows', [i, part], at) * words.length)],
    ).join(' ');
  return { id: `row ${i} é`, prompt: text(0, 2 + (i % 9)), response: i % 97 === 13 ? '' : text(1, 1 + (i % 23)) };
}

export function writeRows(path: string, count: number): string {
  writeFileSync(path, Array.from({ length: count }, (_, i) => `${JSON.stringify(textRow(i))}\n`).join(''));
  return path;
}

export function importOptions(
  sources: readonly string[],
  out: string,
  more: Partial<ImportOptions> = {},
): ImportOptions {
  return {
    sources,
    tokenizer: tokenizerFolder,
    out,
    format: 'auto',
    template: 'auto',
    bos: 'auto',
    max_length: null,
    max_prompt_length: null,
    limit: null,
    workers: 1,
    overwrite: false,
    gleaner_version: '0.0.0-test',
    ...more,
  };
}

/** Names and contents of a folder. */
export function contents(folder: string): Record<string, Buffer> {
  return Object.fromEntries(
    readdirSync(folder)
      .sort()
      .map((name) => [name, readFileSync(join(folder, name))]),
  );
}

/** Kills an import again and again, at a random progress and some milliseconds later, until one comes to its end; how often it was killed. */
export async function killUntilDone(source: string, out: string, fewest: number): Promise<number> {
  for (let kills = 0; kills < 100; ++kills) {
    const random = (part: number) => randomUnit(8, 'rows', [kills], part);
    const steps = fewest + Math.floor(6 * random(0));
    if (!(await killedImport(source, out, steps, Math.floor(60 * random(1))))) return kills;
  }
  throw new Error('the import does not go on');
}

/** false: it came to its end before. */
function killedImport(source: string, out: string, steps: number, delay: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', importScript, source, out, '60000'], { cwd: root });
    let told = '';
    let errors = '';
    let killing = false;
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      told += text;
      if (killing || told.split('importing\n').length - 1 <= steps) return;
      killing = true;
      setTimeout(() => child.kill('SIGKILL'), delay);
    });
    child.on('close', (code, signal) => {
      if (signal === 'SIGKILL') resolve(true);
      else if (code === 0) resolve(false);
      else reject(new Error(errors));
    });
  });
}
