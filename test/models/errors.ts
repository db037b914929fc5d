// Assertions on the errors of a model folder.

import * as assert from 'uvu/assert';
import { GleanerError } from '../../src/common/errors.js';

function check(error: unknown, parts: readonly string[]): void {
  if (!(error instanceof GleanerError)) throw error;
  assert.is(error.code, 'ERR_GLEANER_MODEL');
  for (const part of parts) assert.ok(error.message.includes(part), `"${part}" should stand in: ${error.message}`);
}

/** The work must fail with ERR_GLEANER_MODEL and a message that holds every part. */
export async function refused(work: () => unknown, ...parts: string[]): Promise<void> {
  try {
    await work();
  } catch (error) {
    return check(error, parts);
  }
  assert.unreachable(`no error; expected one with ${parts.join(', ')}`);
}
