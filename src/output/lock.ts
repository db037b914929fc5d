// One process at a time writes into a run's folder: a file with its process id, taken away at its end. That of a process which is gone counts
// for nothing.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { GleanerError } from '../common/errors.js';
import { onDisk } from '../common/on_disk.js';

/** Of this process: its own id in a file tells nothing, since ids are used again. */
const held = new Set<string>();

export class Lock implements AsyncDisposable {
  private constructor(private readonly path: string) {}

  static async take(path: string): Promise<Lock> {
    await refuseWhereHeld(path);
    const taken = await onDisk(path, async () => {
      if (await create(path)) return true;
      await rm(path, { force: true }); // of a process that is gone
      return create(path);
    });
    if (!taken) await refuseWhereHeld(path, 'another process');
    held.add(resolve(path));
    return new Lock(path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    held.delete(resolve(this.path));
    await rm(this.path, { force: true });
  }
}

/** False: another process was faster. */
async function create(path: string): Promise<boolean> {
  try {
    await writeFile(path, `${process.pid}\n`, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function refuseWhereHeld(path: string, unknown?: string): Promise<void> {
  const process_ = await heldBy(path);
  const holder = process_ === undefined ? unknown : `process ${process_}`;
  if (holder === undefined) return;
  throw new GleanerError(
    'ERR_GLEANER_BUSY',
    `${path}: ${holder} is writing into this folder`,
    'Wait for it, or choose another output. If no such run exists, remove the file.',
  );
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
