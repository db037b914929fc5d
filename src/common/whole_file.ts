// Files that are whole or not there: written beside their name, synced, then renamed.

import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

export async function writeWholeFile(path: string, content: string | Uint8Array): Promise<void> {
  const beside = `${path}.part`;
  const file = await open(beside, 'w');
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  await syncFolder(dirname(path));
}

/** The names in a folder, as they are now, survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
