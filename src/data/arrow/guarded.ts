// Reading from files that may be damaged: whole reads, and whatever goes wrong inside of a file as one error that names it.

import type { FileHandle } from 'node:fs/promises';
import { GleanerError, messageOf } from '../../common/errors.js';
import { clip, dataError, fileError } from '../errors.js';
import { Damage } from './damage.js';

export async function readFully(handle: FileHandle, into: Buffer, at: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await handle.read(into, done, into.length - done, at + done);
    if (bytesRead === 0) throw new Damage('it became shorter while it was read');
    done += bytesRead;
  }
}

/** Also what libraries throw that trust the file. */
export async function guarded<Result>(path: string, what: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof GleanerError) throw error;
    if (error instanceof Error && 'syscall' in error) throw fileError(path, error);
    const why = clip(messageOf(error), 200);
    throw dataError(
      `${path}: ${what}: ${error instanceof Damage ? why : `it is damaged (${why})`}`,
      'Is the file whole? Write it anew, or take an earlier copy.',
      error,
    );
  }
}
