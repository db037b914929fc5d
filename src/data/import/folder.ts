// The folder of an import, and what it can be found as: never used, begun and broken off, or finished.

import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { z } from 'zod';
import { GleanerError } from '../../common/errors.js';
import { makeFolder } from '../../common/make_folder.js';
import { onDisk } from '../../common/on_disk.js';
import { writeWholeFile } from '../../common/whole_file.js';
import { type ImportSummary, importSummary } from './metadata.js';
import { type Journal, journalShape } from './state.js';

const ours = /^data-\d{5}(-of-\d{5})?\.arrow(\.part)?$/;
const startAnew = 'Pass --overwrite to start anew, or choose another --out.';

export type Found = { as: 'new' } | { as: 'begun'; journal: Journal } | { as: 'finished'; summary: ImportSummary };

export class ImportFolder {
  readonly summary: string;
  readonly journal: string;

  constructor(readonly path: string) {
    this.summary = join(path, 'summary.json');
    this.journal = join(path, 'journal.json');
  }

  /** While rows are appended. */
  part(shard: number): string {
    return join(this.path, `data-${digits(shard)}.arrow.part`);
  }

  shardName(shard: number, of: number): string {
    return `data-${digits(shard)}-of-${digits(of)}.arrow`;
  }

  shard(shard: number, of: number): string {
    return join(this.path, this.shardName(shard, of));
  }

  async find(): Promise<Found> {
    const info = await stat(this.path).catch(() => undefined);
    if (info === undefined) return { as: 'new' };
    if (!info.isDirectory())
      throw new GleanerError('ERR_GLEANER_USAGE', `--out ${this.path} is a file`, 'Name a folder.');
    const journal = await readWhole(this.journal, journalShape);
    if (journal !== undefined) return { as: 'begun', journal };
    const summary = await readWhole(this.summary, importSummary);
    const names = (await readdir(this.path)).filter((name) => ours.test(name)).sort();
    if (summary === undefined) {
      if (names.length === 0) return { as: 'new' };
      throw new GleanerError(
        'ERR_GLEANER_USAGE',
        `${this.path} holds ${names[0]}, which no import here explains`,
        startAnew,
      );
    }
    for (const { file, bytes } of summary.shards) {
      const size = (await stat(join(this.path, file)).catch(() => undefined))?.size;
      if (size === bytes) continue;
      const what = size === undefined ? 'is missing' : `has ${size} bytes, not ${bytes}`;
      throw new GleanerError('ERR_GLEANER_DATA', `${this.path}: ${file} of the finished import ${what}`, startAnew);
    }
    return { as: 'finished', summary };
  }

  /** Throws where an import with other things began here. */
  checkSame(differences: readonly string[]): void {
    if (differences.length === 0) return;
    throw new GleanerError('ERR_GLEANER_USAGE', `${this.path}: ${differences.join('; ')}`, startAnew);
  }

  async make(): Promise<void> {
    await onDisk(this.path, () => makeFolder(this.path));
  }

  /** Removes what an earlier import left here, and nothing else. */
  async clear(): Promise<void> {
    await onDisk(this.path, async () => {
      const names = await readdir(this.path).catch(() => []);
      const gone = names.filter((name) => ours.test(name) || /^(summary|journal)\.json(\.part)?$/.test(name));
      for (const name of gone) await rm(join(this.path, name));
    });
  }

  async writeJournal(journal: Journal): Promise<void> {
    await onDisk(this.journal, () => writeWholeFile(this.journal, JSON.stringify(journal)));
  }

  async writeSummary(summary: ImportSummary): Promise<void> {
    await onDisk(this.summary, () => writeWholeFile(this.summary, `${JSON.stringify(summary, null, 2)}\n`));
  }
}

const digits = (number: number) => String(number).padStart(5, '0');

async function readWhole<Shape extends z.ZodType>(path: string, shape: Shape): Promise<z.output<Shape> | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    return shape.parse(JSON.parse(text));
  } catch (cause) {
    throw new GleanerError('ERR_GLEANER_DATA', `${path}: damaged, or written by another version`, startAnew, { cause });
  }
}
