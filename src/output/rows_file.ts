// Rows as JSONL, written beside the name and renamed at the end: a file that stands there is whole.

import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from './folder.js';

export class RowsFile implements AsyncDisposable {
  #finished = false;

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
  ) {}

  static async create(path: string): Promise<RowsFile> {
    return onDisk(path, async () => {
      await makeFolder(dirname(path));
      return new RowsFile(path, await open(`${path}.part`, 'w'));
    });
  }

  async append(row: object): Promise<void> {
    await onDisk(this.path, () => this.file.appendFile(`${JSON.stringify(row)}\n`));
  }

  /** Gives the file its name. */
  async finish(): Promise<void> {
    await onDisk(this.path, async () => {
      await this.file.close();
      await rename(`${this.path}.part`, this.path);
    });
    this.#finished = true;
  }

  /** What was written before a failure stays in PATH.part. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#finished) return;
    const { size } = await this.file.stat();
    await this.file.close();
    if (size === 0) await rm(`${this.path}.part`, { force: true });
  }
}
