// Arrow files of the same columns as one source of rows. Record batches are read when a row of theirs is asked for, or a little before; those
// that a window of an order needs stay in memory, the rest is forgotten.

import type { RecordBatch } from 'apache-arrow';
import type { RowSource } from '../row_source.js';
import { BatchFile } from './batch_file.js';

/** Record batches in memory: those of a window, and of the one after it. */
const BATCHES_KEPT = 48;

export type Decode<Row> = (batch: RecordBatch) => (row: number) => Row;

export class FileRows<Row> implements RowSource<Row> {
  readonly batch_rows: readonly number[];
  readonly length: number;
  /** By batch, the least recently used first. */
  readonly #kept = new Map<number, Promise<(row: number) => Row>>();
  readonly #first: Float64Array;

  private constructor(
    private readonly files: readonly BatchFile[],
    private readonly decode: Decode<Row>,
  ) {
    this.batch_rows = files.flatMap((file) => file.batch_rows);
    this.#first = new Float64Array(this.batch_rows.length + 1);
    for (const [batch, rows] of this.batch_rows.entries()) this.#first[batch + 1] = (this.#first[batch] ?? 0) + rows;
    this.length = this.#first.at(-1) ?? 0;
  }

  static async open<Row>(paths: readonly string[], decode: Decode<Row>): Promise<FileRows<Row>> {
    const files: BatchFile[] = [];
    try {
      for (const path of paths) files.push(await BatchFile.open(path));
    } catch (error) {
      for (const file of files) await file.close();
      throw error;
    }
    return new FileRows(files, decode);
  }

  async rows(places: ArrayLike<number>): Promise<Row[]> {
    const rows: Row[] = [];
    for (const place of Array.from(places)) {
      const batch = this.#batchOf(place);
      const row = await this.#load(batch);
      rows.push(row(place - (this.#first[batch] ?? 0)));
    }
    return rows;
  }

  expect(places: ArrayLike<number>): void {
    for (const batch of new Set(Array.from(places, (place) => this.#batchOf(place)))) {
      this.#load(batch).catch(() => {}); // it is told to who asks for the rows
    }
  }

  async close(): Promise<void> {
    this.#kept.clear();
    for (const file of this.files) await file.close();
  }

  #batchOf(place: number): number {
    if (!(place >= 0 && place < this.length)) throw new RangeError(`row ${place} of ${this.length}`);
    let [low, high] = [0, this.batch_rows.length];
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if ((this.#first[middle] ?? 0) <= place) low = middle;
      else high = middle;
    }
    return low;
  }

  #load(batch: number): Promise<(row: number) => Row> {
    const found = this.#kept.get(batch) ?? this.#read(batch);
    this.#kept.delete(batch);
    this.#kept.set(batch, found);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > BATCHES_KEPT && oldest !== undefined) this.#kept.delete(oldest);
    return found;
  }

  async #read(batch: number): Promise<(row: number) => Row> {
    let inFile = batch;
    for (const file of this.files) {
      if (inFile < file.batch_rows.length) return this.decode(await file.read(inFile));
      inFile -= file.batch_rows.length;
    }
    throw new RangeError(`record batch ${batch} of ${this.batch_rows.length}`);
  }
}
