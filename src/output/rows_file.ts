// Rows as JSONL, written beside the name and renamed at the end: a file that stands there is whole. What is no plain file (/dev/null, a pipe,
// a link) is written to as it is: a rename would put a file in its place.

import { type FileHandle, lstat, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { GleanerError } from '../common/errors.js';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';

export class RowsFile implements AsyncDisposable {
  #closed = false;

  private constructor(
    private readonly path: string,
    /** Where the rows go until the end; the path itself where it is no plain file. */
    readonly part: string,
    private readonly file: FileHandle,
  ) {}

  static async create(path: string): Promise<RowsFile> {
    if ((await stat(path).catch(() => undefined))?.isDirectory())
      throw new GleanerError('ERR_GLEANER_USAGE', `${path} is a folder`, 'Name a file.');
    return onDisk(path, async () => {
      await makeFolder(dirname(path));
      const info = await lstat(path).catch(() => undefined);
      const part = info === undefined || info.isFile() ? `${path}.part` : path;
      return new RowsFile(path, part, await open(part, 'w'));
    });
  }

  async append(row: object): Promise<void> {
    await onDisk(this.path, () => this.file.appendFile(`${JSON.stringify(row)}\n`));
  }

  /** Gives the file its name. */
  async finish(): Promise<void> {
    await onDisk(this.path, async () => {
      await this.#close();
      if (this.part !== this.path) await rename(this.part, this.path);
    });
  }

  /** What was written before a failure stays in PATH.part. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    const { size } = await this.file.stat();
    await this.#close();
    if (size === 0 && this.part !== this.path) await rm(this.part, { force: true });
  }

  async #close(): Promise<void> {
    this.#closed = true;
    await this.file.close();
  }
}
