// Checkpoints of a run: checkpoints/step-<n>/ with the policy, the optimiser's state and state.json. One is written beside its name, synced, then
// renamed, so that what has a name is whole; what a killed run left half-written is removed by the next.

import { constants } from 'node:fs';
import { copyFile, link, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GleanerError, messageOf } from '../common/errors.js';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';
import { syncFolder, writeWholeFile } from '../common/whole_file.js';

const words = {
  failure: 'the checkpoint cannot be written',
  hint: 'Free some space; the checkpoints before it are whole.',
};

/** The files of one checkpoint. */
export class CheckpointFolder {
  constructor(readonly path: string) {}

  /** A Hugging Face folder. */
  get policy(): string {
    return join(this.path, 'policy');
  }

  get optimizer(): string {
    return join(this.path, 'optimizer.safetensors');
  }

  /** The weights with which the round began, where it needs them. */
  get round(): string {
    return join(this.path, 'round.safetensors');
  }

  get state(): string {
    return join(this.path, 'state.json');
  }
}

export class Checkpoints {
  constructor(private readonly folder: string) {}

  at(step: number): CheckpointFolder {
    return new CheckpointFolder(join(this.folder, `step-${step}`));
  }

  /** Steps that have a whole checkpoint, the first one first. */
  async steps(): Promise<number[]> {
    const names = await readdir(this.folder).catch(() => []);
    const steps = names.flatMap((name) => /^step-(\d+)$/.exec(name)?.[1] ?? []).map(Number);
    return steps.sort((a, b) => a - b);
  }

  /** Removes what was not finished. */
  async clean(): Promise<void> {
    const names = await readdir(this.folder).catch(() => []);
    for (const name of names.filter((other) => other.endsWith('.part')))
      await rm(join(this.folder, name), { recursive: true, force: true });
  }

  /** Whole or not at all. `write` puts the tensors into the folder that it is given; `state` is what an exact resume reads. */
  async write(
    step: number,
    state: object,
    write: (folder: CheckpointFolder) => Promise<void>,
  ): Promise<CheckpointFolder> {
    const path = this.at(step).path;
    const part = new CheckpointFolder(`${path}.part`);
    try {
      await onDisk(
        path,
        async () => {
          await rm(part.path, { recursive: true, force: true });
          await makeFolder(part.path);
        },
        words,
      );
      await write(part);
      await onDisk(
        path,
        async () => {
          await writeWholeFile(part.state, `${JSON.stringify(state)}\n`);
          await rm(path, { recursive: true, force: true }); // one of the same step that could not be read
          await rename(part.path, path);
          await syncFolder(this.folder);
        },
        words,
      );
    } catch (error) {
      await rm(part.path, { recursive: true, force: true }).catch(() => {}); // makes room again
      throw error;
    }
    return this.at(step);
  }

  async readState(step: number): Promise<unknown> {
    const path = this.at(step).state;
    try {
      const state: unknown = JSON.parse(await readFile(path, 'utf8'));
      return state;
    } catch (cause) {
      throw new GleanerError(
        'ERR_GLEANER_DATA',
        `${path}: cannot be read: ${messageOf(cause)}`,
        'Remove this checkpoint to go on from the one before it.',
        { cause },
      );
    }
  }

  /** Keeps the last `keep` and those of `wanted`. */
  async prune(keep: number, wanted: readonly number[]): Promise<void> {
    const steps = await this.steps();
    for (const step of steps.slice(0, Math.max(0, steps.length - keep))) {
      if (wanted.includes(step)) continue;
      const { path } = this.at(step);
      // Without its name first: a kill in the middle must not leave a folder that looks whole.
      await onDisk(path, async () => {
        await rename(path, `${path}.part`);
        await rm(`${path}.part`, { recursive: true, force: true });
      });
    }
  }
}

/** The same bytes under another name: one file on the disk where the file system can, else a copy. */
export async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch {
    await copyFile(from, to, constants.COPYFILE_FICLONE);
    const file = await open(to, 'r+');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
