// Failures of the disk under one code, with the path.

import { fileReason, GleanerError } from './errors.js';

interface Words {
  failure: string;
  hint: string;
}
const ofFiles: Words = { failure: 'cannot be written', hint: 'Check the free space and the permissions there.' };

export async function onDisk<Result>(path: string, work: () => Promise<Result>, words = ofFiles): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    throw new GleanerError('ERR_GLEANER_DISK', `${path}: ${words.failure}: ${fileReason(cause)}`, words.hint, {
      cause,
    });
  }
}
