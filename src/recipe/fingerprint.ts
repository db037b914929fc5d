// What a model folder holds, in a few bytes: enough to notice that a run would go on with other weights than it began with.

import { createHash } from 'node:crypto';
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../data/errors.js';

const BLOCK = 65_536;
const BLOCKS_OF_FILE = 64;

/** SHA-256 over config.json and, of each weights file, its size and evenly spaced blocks: gigabytes are not read for it. */
export async function modelFingerprint(folder: string, init: 'pretrained' | 'random'): Promise<string> {
  const hash = createHash('sha256').update(await readFile(join(folder, 'config.json')));
  if (init === 'random') return hash.digest('hex');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.safetensors')).sort();
  for (const name of names) await addFile(hash.update(`\0${name}\0`), join(folder, name));
  return hash.digest('hex');
}

async function addFile(hash: ReturnType<typeof createHash>, path: string): Promise<void> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      hash.update(`${size}\0`);
      const bytes = Buffer.alloc(BLOCK);
      for (let block = 0; block < BLOCKS_OF_FILE; ++block) {
        const at = Math.floor((Math.max(0, size - BLOCK) * block) / (BLOCKS_OF_FILE - 1));
        const { bytesRead } = await file.read(bytes, 0, BLOCK, at);
        hash.update(bytes.subarray(0, bytesRead));
        if (size <= BLOCK) break;
      }
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw fileError(path, cause);
  }
}
