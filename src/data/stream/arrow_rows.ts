// Rows of Arrow files, read a record batch at a time: what an order's window needs is held, what comes next is read meanwhile. Memory depends
// on the size of a window and not on that of the files.

import type { RecordBatch } from 'apache-arrow';
import { BatchFile } from '../arrow/batch_file.js';
import { WINDOW_ROWS } from './order.js';
import type { RowSource } from './row_source.js';

/** Where a record batch stands. */
export interface BatchPlace {
  path: string;
  /** Its first row, of the file's. */
  first_row: number;
}

/** What a record batch holds: its rows by their number in it. Ids should be views (arrow_columns.ts). */
export type DecodeBatch<Row> = (batch: RecordBatch, place: BatchPlace) => (row: number) => Row;

/** Rows that are held. At a window's end that is two windows; where rows are long, what goes beyond HELD_BYTES is let go sooner. */
const HELD_ROWS = 2 * WINDOW_ROWS;
const HELD_BYTES = 2 ** 27;

interface Held<Row> {
  rows: number;
  bytes: number;
  row: ((row: number) => Row) | undefined;
  /** Never rejects: what went wrong is in `failure`. */
  read: Promise<void>;
  failure: unknown;
}

export class ArrowRows<Row> implements RowSource<Row>, AsyncDisposable {
  readonly batch_rows: readonly number[];
  readonly length: number;
  /** Of each batch, its first row among all, and at the end the number of rows. */
  readonly #firstRow: Float64Array;
  /** Of each file, its first batch among all. */
  readonly #firstBatch: number[] = [];
  /** By batch; what was asked for last stands last. */
  readonly #held = new Map<number, Held<Row>>();
  #rows = 0;
  #bytes = 0;
  #waitedMs = 0;

  private constructor(
    readonly paths: readonly string[],
    private readonly files: readonly BatchFile[],
    private readonly decode: DecodeBatch<Row>,
  ) {
    const sizes: number[] = [];
    for (const { batch_rows } of files) {
      this.#firstBatch.push(sizes.length);
      for (const rows of batch_rows) sizes.push(rows);
    }
    this.batch_rows = sizes;
    this.#firstRow = new Float64Array(sizes.length + 1);
    for (const [batch, rows] of sizes.entries()) this.#firstRow[batch + 1] = (this.#firstRow[batch] ?? 0) + rows;
    this.length = this.#firstRow.at(-1) ?? 0;
  }

  /** Opens the files; `decode` sees each record batch that is read. */
  static async open<Row>(paths: readonly string[], decode: DecodeBatch<Row>): Promise<ArrowRows<Row>> {
    const files: BatchFile[] = [];
    try {
      for (const path of paths) files.push(await BatchFile.open(path));
    } catch (error) {
      for (const file of files) await file.close();
      throw error;
    }
    return new ArrowRows(paths, files, decode);
  }

  /** How long rows() had to wait for a file, all told. */
  get waited_seconds(): number {
    return this.#waitedMs / 1000;
  }

  async rows(places: ArrayLike<number>): Promise<Row[]> {
    const batches = Array.from(places, (place) => this.#batchOf(place));
    const helds = batches.map((batch) => this.#hold(batch));
    const missing = helds.filter(({ row }) => row === undefined);
    if (missing.length > 0) {
      const start = performance.now();
      await Promise.all(missing.map(({ read }) => read));
      this.#waitedMs += performance.now() - start;
    }
    const rows = helds.map(({ row, failure }, index) => {
      if (row === undefined) throw failure;
      return row((places[index] ?? 0) - (this.#firstRow[batches[index] ?? 0] ?? 0));
    });
    this.#letGo();
    return rows;
  }

  expect(places: ArrayLike<number>): void {
    let fresh = 0;
    for (let index = 0; index < places.length && fresh < WINDOW_ROWS; ++index) {
      const batch = this.#batchOf(places[index] ?? 0);
      if (!this.#held.has(batch)) fresh += this.batch_rows[batch] ?? 0;
      this.#hold(batch);
    }
    this.#letGo();
  }

  /** One record batch, which is not held: for a pass over the files. */
  async batch(batch: number): Promise<{ batch: RecordBatch; place: BatchPlace }> {
    const { file, place, number } = this.#placeOf(batch);
    return { batch: await file.read(number), place };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#held.values()].map(({ read }) => read));
    this.#held.clear();
    for (const file of this.files) await file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The batch, read or being read, as the one that was asked for last. */
  #hold(batch: number): Held<Row> {
    const known = this.#held.get(batch);
    const held = known ?? this.#start(batch);
    this.#held.delete(batch);
    this.#held.set(batch, held);
    return held;
  }

  #start(batch: number): Held<Row> {
    const held: Held<Row> = {
      rows: this.batch_rows[batch] ?? 0,
      bytes: 0,
      row: undefined,
      read: Promise.resolve(),
      failure: undefined,
    };
    this.#rows += held.rows;
    held.read = this.#read(batch, held);
    return held;
  }

  async #read(batch: number, held: Held<Row>): Promise<void> {
    try {
      const { batch: content, place } = await this.batch(batch);
      held.row = this.decode(content, place);
      held.bytes = content.data.byteLength;
      if (this.#held.get(batch) === held) this.#bytes += held.bytes;
    } catch (error) {
      held.failure = error;
      this.#drop(batch, held); // asked for again, it is read again
    }
  }

  #letGo(): void {
    for (const [batch, held] of this.#held) {
      const room = this.#rows <= HELD_ROWS && (this.#bytes <= HELD_BYTES || this.#rows <= WINDOW_ROWS);
      if (room || this.#held.size <= 1) return;
      this.#drop(batch, held);
    }
  }

  #drop(batch: number, held: Held<Row>): void {
    if (this.#held.get(batch) !== held) return;
    this.#held.delete(batch);
    this.#rows -= held.rows;
    this.#bytes -= held.bytes;
  }

  #placeOf(batch: number): { file: BatchFile; number: number; place: BatchPlace } {
    const index = lastNotAbove(this.#firstBatch, batch);
    const [file, path, first] = [this.files[index], this.paths[index], this.#firstBatch[index]];
    if (file === undefined || path === undefined || first === undefined) throw new RangeError(`batch ${batch}`);
    const first_row = (this.#firstRow[batch] ?? 0) - (this.#firstRow[first] ?? 0);
    return { file, number: batch - first, place: { path, first_row } };
  }

  #batchOf(place: number): number {
    if (!(place >= 0 && place < this.length)) throw new RangeError(`row ${place} of ${this.length}`);
    return lastNotAbove(this.#firstRow, place);
  }
}

/** The last place whose value is not above `value`; values rise, and the first is not above it. */
function lastNotAbove(values: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((values[middle] ?? 0) <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}
