// A model folder on disk: config.json, the tokenizer's files, and the tensors, which native writes.

import { copyFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { GleanerError } from '../common/errors.js';
import { makeFolder } from '../common/make_folder.js';
import type { Config } from '../models/config.js';
import { planSave } from '../models/save.js';
import type { ModelDescription } from '../models/spec.js';

type WriteTensors = (
  file: string,
  header: Uint8Array,
  pieces: { parameter: string; row: number; rows: number; dtype: string }[],
) => Promise<void>;

/** model.safetensors comes last and appears whole or not at all: a folder that has it is complete. */
export async function writeModelFolder(
  path: string,
  config: Config,
  description: ModelDescription,
  dtype: 'F32' | 'F16' | 'BF16',
  files: readonly string[],
  writeTensors: WriteTensors,
): Promise<void> {
  const plan = planSave(config, description, dtype);
  try {
    await makeFolder(path);
    await writeFile(join(path, 'config.json'), plan.config_json);
    for (const file of files) await copyFile(file, join(path, basename(file)));
  } catch (cause) {
    throw new GleanerError(
      'ERR_GLEANER_DISK',
      `${path}: cannot write the model: ${cause instanceof Error ? cause.message : String(cause)}`,
      'free some space, or choose another folder',
      {
        cause,
      },
    );
  }
  const pieces = plan.pieces.map(({ parameter, row, rows }) => ({ parameter, row, rows, dtype }));
  await writeTensors(join(path, 'model.safetensors'), plan.header, pieces);
}
