// What a run left, without what no two runs have in common: times and memory.

import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { tableFromIPC } from 'apache-arrow';

const CHANGES = /^(time\/|memory\/|tokens_per_second$)/;

/** Records of metrics.jsonl. */
export function metricsOf(folder: string): Record<string, unknown>[] {
  const lines = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
  return lines.map((line) => {
    const record: Record<string, unknown> = JSON.parse(line);
    return Object.fromEntries(Object.entries(record).filter(([key]) => !CHANGES.test(key)));
  });
}

/** By path below the folder: metrics, texts and weights, as far as they are the same in every run of a recipe. */
export function runFiles(folder: string): Map<string, unknown> {
  const files = new Map<string, unknown>([['metrics.jsonl', metricsOf(folder)]]);
  for (const top of ['rounds', 'samples', 'final']) {
    for (const path of below(join(folder, top))) files.set(path.slice(folder.length + 1), contentOf(path));
  }
  return files;
}

/** Rows of Arrow files, since their metadata names the data that they come from; the hash of others. */
function contentOf(path: string): unknown {
  const bytes = readFileSync(path);
  if (path.endsWith('.arrow')) return JSON.stringify(tableFromIPC(bytes).toArray());
  return createHash('sha256').update(bytes).digest('hex');
}

function below(folder: string): string[] {
  if (!statSync(folder, { throwIfNoEntry: false })) return [];
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => (entry.isDirectory() ? below(join(folder, entry.name)) : [join(folder, entry.name)]))
    .sort();
}
