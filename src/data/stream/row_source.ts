// Rows that are read when they are needed. What trains sees this interface: rows in memory and rows in Arrow files look alike.

/** A demonstration as ids. */
export interface IdRow {
  id: string;
  prompt_ids: readonly number[] | Int32Array;
  response_ids: readonly number[] | Int32Array;
}

/** Rows that are read when they are asked for: in memory and in files alike. */
export interface RowSource<Row> {
  /** Rows in all. */
  readonly length: number;
  /** Rows of each record batch, in the order of the files; they sum to length. An order goes through them a window at a time (order.ts). */
  readonly batch_rows: readonly number[];
  /** The rows at these places, in this order. */
  rows(places: ArrayLike<number>): Promise<Row[]>;
  /** Says which rows will be asked for soon, so that they are read while the engine works. */
  expect(places: ArrayLike<number>): void;
}

/** Demonstrations as ids; the plan needs their lengths before a row is read. */
export interface TokenSource extends RowSource<IdRow> {
  /** Tokens of each row's prompt and of its response, as they are trained: [length]. */
  readonly prompt_lengths: Int32Array;
  readonly response_lengths: Int32Array;
  /** SHA-256 over the rows, or over what they were imported from: a resume refuses other data. */
  readonly fingerprint: string;
}

/** Rows of a record batch as `data import` writes them, and as rows in memory are taken to lie. */
export const BATCH_ROWS = 1024;

export function batchRows(length: number): number[] {
  const sizes: number[] = [];
  for (let begin = 0; begin < length; begin += BATCH_ROWS) sizes.push(Math.min(BATCH_ROWS, length - begin));
  return sizes;
}

/** Rows in memory. */
export class MemoryRows<Row> implements RowSource<Row> {
  readonly batch_rows: readonly number[];

  constructor(private readonly items: readonly Row[]) {
    this.batch_rows = batchRows(items.length);
  }

  get length(): number {
    return this.items.length;
  }

  async rows(places: ArrayLike<number>): Promise<Row[]> {
    return Array.from(places, (place) => {
      const row = this.items[place];
      if (row === undefined) throw new RangeError(`row ${place} of ${this.items.length}`);
      return row;
    });
  }

  expect(): void {}
}
