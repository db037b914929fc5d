// The order in which rows are taken: a permutation that its key determines, so that it can be entered again at any place. Rows that lie in
// files are shuffled as files can be read: the record batches first, then the rows inside a window of them. Up to WINDOW_ROWS rows that is
// the plain permutation.

import { type Purpose, randomUnit } from '../../common/philox.js';

export interface PermutationKey {
  seed: number;
  purpose: Purpose;
  /** Round, epoch, …: each has an order of its own. */
  stream: readonly number[];
  length: number;
}

/** Fisher–Yates over 0 … length − 1. */
export function permutation({ seed, purpose, stream, length }: PermutationKey): Uint32Array {
  const order = Uint32Array.from({ length }, (_, place) => place);
  for (let place = length - 1; place > 0; --place) {
    const other = Math.floor(randomUnit(seed, purpose, stream, place) * (place + 1));
    const kept = order[place] ?? 0;
    order[place] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}

/** Rows that are shuffled among each other; so many are held while a file is gone through. */
export const WINDOW_ROWS = 16_384;

export interface OrderKey {
  seed: number;
  purpose: Purpose;
  stream: readonly number[];
  /** Rows of each record batch. */
  batch_rows: readonly number[];
  /** false: as the files have them. */
  shuffle: boolean;
}

interface Window {
  /** Place in the order of its first row. */
  begin: number;
  rows: number;
  batches: number[];
}

/** An order of rows of which a piece at a time is worked out. */
export class RowOrder {
  readonly length: number;
  readonly #windows: Window[] = [];
  readonly #firstRow: Float64Array;
  /** The last two: at a window's end who reads ahead is in the next one already. */
  #kept: { window: Window; rows: Uint32Array }[] = [];

  constructor(private readonly key: OrderKey) {
    const { batch_rows } = key;
    this.#firstRow = new Float64Array(batch_rows.length + 1);
    for (const [batch, rows] of batch_rows.entries()) this.#firstRow[batch + 1] = (this.#firstRow[batch] ?? 0) + rows;
    this.length = this.#firstRow.at(-1) ?? 0;
    if (key.shuffle) this.#makeWindows();
  }

  #makeWindows(): void {
    const { batch_rows, seed, stream } = this.key;
    const whole = this.length <= WINDOW_ROWS;
    // One window shuffles all rows by itself.
    const batches = whole
      ? [...batch_rows.keys()]
      : permutation({ seed, purpose: 'windows', stream, length: batch_rows.length });
    let window: Window = { begin: 0, rows: 0, batches: [] };
    for (const batch of batches) {
      const rows = batch_rows[batch] ?? 0;
      if (window.rows > 0 && window.rows + rows > WINDOW_ROWS) {
        this.#windows.push(window);
        window = { begin: window.begin + window.rows, rows: 0, batches: [] };
      }
      window.rows += rows;
      window.batches.push(batch);
    }
    this.#windows.push(window);
  }

  /** The rows at the places [begin, end) of the order. */
  slice(begin: number, end: number): Uint32Array {
    const last = Math.min(end, this.length);
    if (!this.key.shuffle) return Uint32Array.from({ length: Math.max(0, last - begin) }, (_, place) => begin + place);
    const rows = new Uint32Array(Math.max(0, last - begin));
    for (let place = begin; place < last; ) {
      const { window, rows: inside } = this.#windowAt(place);
      const until = Math.min(last, window.begin + window.rows);
      rows.set(inside.subarray(place - window.begin, until - window.begin), place - begin);
      place = until;
    }
    return rows;
  }

  #windowAt(place: number): { window: Window; rows: Uint32Array } {
    const kept = this.#kept.find(({ window: { begin, rows } }) => place >= begin && place < begin + rows);
    if (kept) return kept;
    const number = this.#windows.findLastIndex(({ begin }) => begin <= place);
    const window = this.#windows[number];
    if (!window) throw new RangeError(`place ${place} of an order of ${this.length}`);
    const made = { window, rows: this.#shuffled(window, number) };
    this.#kept = [...this.#kept.slice(-1), made];
    return made;
  }

  #shuffled(window: Window, number: number): Uint32Array {
    const { seed, purpose, stream } = this.key;
    const rows = new Uint32Array(window.rows);
    let filled = 0;
    for (const batch of window.batches) {
      const first = this.#firstRow[batch] ?? 0;
      for (let row = first; row < (this.#firstRow[batch + 1] ?? first); ++row) rows[filled++] = row;
    }
    const inside = this.#windows.length === 1 ? stream : [...stream, number];
    const order = permutation({ seed, purpose, stream: inside, length: window.rows });
    return order.map((place) => rows[place] ?? 0);
  }
}
