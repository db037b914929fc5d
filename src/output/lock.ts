// One process at a time writes into a run's folder: a file with its process id, taken away at its end. That of a process which is gone counts
// for nothing.

import { open, readFile, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { GleanerError } from '../common/errors.js';
import { onDisk } from '../common/on_disk.js';

/** Of this process: its own id in a file tells nothing, since ids are used again. */
const held = new Set<string>();

export class Lock implements AsyncDisposable {
  private constructor(private readonly path: string) {}

  static async take(path: string): Promise<Lock> {
    const holder = await heldBy(path);
    if (holder !== undefined) {
      throw new GleanerError(
        'ERR_GLEANER_BUSY',
        `${path}: process ${holder} is writing into this folder`,
        'Wait for it, or choose another output. If no such run exists, remove the file.',
      );
    }
    await onDisk(path, async () => {
      await rm(path, { force: true });
      const file = await open(path, 'wx');
      try {
        await file.writeFile(`${process.pid}\n`);
      } finally {
        await file.close();
      }
    });
    held.add(resolve(path));
    return new Lock(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    held.delete(resolve(this.path));
    await rm(this.path, { force: true });
  }
}

async function heldBy(path: string): Promise<number | undefined> {
  if (held.has(resolve(path))) return process.pid;
  const text = await readFile(path, 'utf8').catch(() => undefined);
  const holder = Number(text);
  if (text === undefined || !Number.isSafeInteger(holder) || holder <= 0 || holder === process.pid) return undefined;
  try {
    process.kill(holder, 0);
    return holder;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM' ? holder : undefined;
  }
}
