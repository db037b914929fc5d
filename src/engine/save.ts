// A model folder on disk: config.json, the tokenizer's files, and the tensors, which native writes.

import { readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { GleanerError } from '../common/errors.js';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';
import { syncFolder, writeWholeFile } from '../common/whole_file.js';
import type { Config } from '../models/config.js';
import { planSave } from '../models/save.js';
import type { ModelDescription } from '../models/spec.js';

const words = { failure: 'cannot write the model', hint: 'free some space, or choose another folder' };

type WriteTensors = (
  file: string,
  header: Uint8Array,
  pieces: { parameter: string; row: number; rows: number; dtype: string }[],
) => Promise<void>;

/**
 * A new folder is written beside its name, synced, then renamed: it is there whole or not at all. Into a folder that exists, which may hold
 * what is not ours, each file is put whole, model.safetensors last.
 */
export async function writeModelFolder(
  path: string,
  config: Config,
  description: ModelDescription,
  dtype: 'F32' | 'F16' | 'BF16',
  files: readonly string[],
  writeTensors: WriteTensors,
): Promise<void> {
  if (path === '') throw new GleanerError('ERR_GLEANER_DISK', 'the model was given no folder to be saved to');
  const plan = planSave(config, description, dtype);
  const pieces = plan.pieces.map(({ parameter, row, rows }) => ({ parameter, row, rows, dtype }));
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  const folder = exists ? path : `${path}.part`;
  await onDisk(
    path,
    async () => {
      if (!exists) await rm(folder, { recursive: true, force: true });
      await makeFolder(folder);
      await writeWholeFile(join(folder, 'config.json'), plan.config_json);
      for (const file of files) await writeWholeFile(join(folder, basename(file)), await readFile(file));
    },
    words,
  );
  try {
    await writeTensors(join(folder, 'model.safetensors'), plan.header, pieces);
  } catch (error) {
    if (!exists) await rm(folder, { recursive: true, force: true }).catch(() => {}); // the first error counts
    throw error;
  }
  if (exists) return;
  await onDisk(
    path,
    async () => {
      await rename(folder, path);
      await syncFolder(dirname(path));
    },
    words,
  );
}
