// The rows of a round in files: rounds/<t>/generations.arrow, what the policy wrote, and pairs.arrow, what is trained. Both are
// Arrow streams (which Hugging Face datasets reads with Dataset.from_file) and grow as PATH.part, one record batch a group, synced; when they
// are whole they get their name.

import { type FileHandle, open, rename, rm, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { tableToIPC } from 'apache-arrow';
import { GleanerError } from '../common/errors.js';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';
import { syncFolder } from '../common/whole_file.js';
import { BatchFile } from '../data/arrow/batch_file.js';
import { ArrowRows } from '../data/stream/arrow_rows.js';
import { type Columns, type RowRead, rowsOf, tableOf } from './columns.js';

/** Bytes that end a stream: they are left out, so that a stream can be gone on with. */
const END_OF_STREAM = 8;

export interface RoundFile<Row, Some extends Columns<Row>> {
  path: string;
  columns: Some;
  /** Stands in the file; a file with another key was made under other circumstances and is not gone on with. */
  key: string;
}

/** A file that is written group by group. */
export class GrowingRows<Row, Some extends Columns<Row>> {
  #length: number;
  #handle: FileHandle | undefined;

  private constructor(
    private readonly file: RoundFile<Row, Some>,
    length: number,
    /** A schema stands in PATH.part already. */
    private begun: boolean,
    private readonly whole: boolean,
  ) {
    this.#length = length;
  }

  /** With the whole groups that an earlier run left; fresh: with none. */
  static async open<Row, Some extends Columns<Row>>(
    file: RoundFile<Row, Some>,
    { fresh = false } = {},
  ): Promise<GrowingRows<Row, Some>> {
    return onDisk(file.path, async () => {
      await makeFolder(dirname(file.path));
      if (fresh) {
        for (const path of [file.path, partOf(file.path)]) await rm(path, { force: true });
        return new GrowingRows<Row, Some>(file, 0, false, false);
      }
      const whole = await usable(file.path, file.key);
      if (whole?.complete) return new GrowingRows<Row, Some>(file, whole.rows, true, true);
      const part = await usable(partOf(file.path), file.key);
      if (part === undefined) await rm(partOf(file.path), { force: true });
      else await truncate(partOf(file.path), part.whole_bytes);
      return new GrowingRows<Row, Some>(file, part?.rows ?? 0, part !== undefined, false);
    });
  }

  /** Rows that are there. */
  get length(): number {
    return this.#length;
  }

  /** A group that was not finished is not kept. */
  async close(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
  }

  async append(group: readonly Row[]): Promise<void> {
    if (group.length === 0) return;
    const { path, columns } = this.file;
    await onDisk(path, async () => {
      this.#handle ??= await open(partOf(path), 'a');
      await this.#handle.appendFile(this.#bytesOf(tableBytes(columns, group, this.file.key)));
      await this.#handle.datasync();
    });
    this.begun = true;
    this.#length += group.length;
  }

  /** Behind the first group only the record batch is added, not the schema again. */
  #bytesOf(stream: Uint8Array): Uint8Array {
    const schema = this.begun ? tableBytes(this.file.columns, [], this.file.key).length - END_OF_STREAM : 0;
    return stream.subarray(schema, stream.length - END_OF_STREAM);
  }

  async finish(): Promise<ArrowRows<RowRead<Some>>> {
    const { path, columns, key } = this.file;
    if (!this.whole) {
      await onDisk(path, async () => {
        this.#handle ??= await open(partOf(path), 'a');
        const empty = tableBytes(columns, [], key);
        await this.#handle.appendFile(this.begun ? empty.subarray(empty.length - END_OF_STREAM) : empty);
        await this.#handle.datasync();
        await this.close();
        await rename(partOf(path), path);
        await syncFolder(dirname(path));
      });
    }
    return openRows(this.file);
  }
}

/** A file that was finished. */
export async function openRows<Some extends Columns<never>>({
  path,
  columns,
}: {
  path: string;
  columns: Some;
}): Promise<ArrowRows<RowRead<Some>>> {
  return ArrowRows.open([path], (batch, place) => rowsOf(columns, batch, place.path));
}

function partOf(path: string): string {
  return `${path}.part`;
}

function tableBytes<Row>(columns: Columns<Row>, rows: readonly Row[], key: string): Uint8Array {
  return tableToIPC(tableOf(columns, rows, new Map([['gleaner', key]])), 'stream');
}

/** What can be gone on with; undefined: nothing, or nothing of this run. */
async function usable(
  path: string,
  key: string,
): Promise<{ rows: number; whole_bytes: number; complete: boolean } | undefined> {
  try {
    await using file = await BatchFile.open(path);
    if (file.metadata.get('gleaner') !== key) return undefined;
    const { batch_rows, whole_bytes, complete } = file;
    return { rows: batch_rows.reduce((sum, rows) => sum + rows, 0), whole_bytes, complete };
  } catch (error) {
    if (error instanceof GleanerError) return undefined;
    throw error;
  }
}
