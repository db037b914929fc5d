// A folder with all that is above it. Node's own recursive mkdir never returns where a file system refuses new folders as "not found" (/proc
// does), so each level is made by itself and the first refusal is the answer.

import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export async function makeFolder(path: string): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info?.isDirectory()) return;
  const above = dirname(path);
  if (above !== path) await makeFolder(above);
  try {
    await mkdir(path);
  } catch (error) {
    if (!(await stat(path).catch(() => undefined))?.isDirectory()) throw error; // another process may have made it meanwhile
  }
}
