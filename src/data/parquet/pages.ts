// The pages of one column chunk, unpacked and checked: what comes out is the same column without compression, whose every length and count holds.
// hyparquet, which decodes it, trusts them.

import { Damage } from '../arrow/damage.js';
import { checkDeltas, checkRuns } from './runs.js';
import { CompactReader, type Struct, writeStruct } from './thrift.js';
import { unpack } from './unpack.js';

export interface Column {
  codec: string;
  /** Physical type, and bytes of each value where that is fixed. */
  type: string;
  type_length: number | undefined;
  max_definition: number;
  max_repetition: number;
  values: number;
  rows: number;
}

const pageTypes = { data: 0, index: 1, dictionary: 2, data2: 3 } as const;
const encodings = {
  plain: 0,
  plainDictionary: 2,
  rle: 3,
  deltas: 5,
  deltaLengths: 6,
  dictionary: 8,
  split: 9,
} as const;

/** The column chunk of these bytes, unpacked; the same pages, the same values. */
export function unpackedChunk(bytes: Uint8Array, column: Column): Uint8Array[] {
  return new Chunk(bytes, column).run();
}

class Chunk {
  readonly #parts: Uint8Array[] = [];
  #dictionary: number | undefined;
  #values = 0;
  #rows = 0;
  #budget: number;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly column: Column,
  ) {
    this.#budget = 2 ** 25 + 2 ** 10 * bytes.length;
  }

  run(): Uint8Array[] {
    for (let at = 0; at < this.bytes.length && this.#values < this.column.values; ) {
      const reader = new CompactReader(this.bytes, at);
      const header = reader.struct();
      const size = count(header, 3);
      if (reader.at + size > this.bytes.length)
        throw new Damage(`a page of ${size} bytes that its column does not hold`);
      this.#page(header, this.bytes.subarray(reader.at, reader.at + size));
      at = reader.at + size;
    }
    const { values, rows } = this.column;
    if (this.#values !== values || this.#rows !== rows)
      throw new Damage(`${this.#values} values in ${this.#rows} rows where ${values} in ${rows} are told`);
    return this.#parts;
  }

  #page(header: Struct, body: Uint8Array): void {
    switch (header.get(1)) {
      case pageTypes.dictionary: {
        const inner = part(header, 7);
        const page = this.#unpacked(body, count(header, 2));
        if (this.#dictionary !== undefined) throw new Damage('a second dictionary');
        this.#dictionary = count(inner, 1);
        this.#checkPlain(page, 0, this.#dictionary);
        this.#keep(pageTypes.dictionary, page, [
          7,
          [
            [1, this.#dictionary],
            [2, count(inner, 2)],
          ],
        ]);
        return;
      }
      case pageTypes.data: {
        const inner = part(header, 5);
        const page = this.#unpacked(body, count(header, 2));
        const values = this.#take(count(inner, 1));
        const repeated = this.#level(page, 0, this.column.max_repetition, values, count(inner, 4, encodings.rle));
        const defined = this.#level(
          page,
          repeated.end,
          this.column.max_definition,
          values,
          count(inner, 3, encodings.rle),
        );
        this.#rows += this.column.max_repetition > 0 ? repeated.zeros : values;
        this.#checkValues(page, defined.end, defined.full, count(inner, 2), false);
        this.#keep(pageTypes.data, page, [
          5,
          [
            [1, values],
            [2, count(inner, 2)],
            [3, encodings.rle],
            [4, encodings.rle],
          ],
        ]);
        return;
      }
      case pageTypes.data2:
        this.#page2(header, body);
        return;
      case pageTypes.index:
        return;
      default:
        throw new Damage('a page of no known type');
    }
  }

  /** Levels stand before the values, never compressed. */
  #page2(header: Struct, body: Uint8Array): void {
    const inner = part(header, 8);
    const [definitions, repetitions] = [count(inner, 5), count(inner, 6)];
    const levels = definitions + repetitions;
    if (levels > body.length || levels > count(header, 2)) throw new Damage('a page that is shorter than its levels');
    const packed = body.subarray(levels);
    const size = count(header, 2) - levels;
    const plain = inner.get(7) === false ? packed : this.#unpacked(packed, size);
    const page = Buffer.concat([body.subarray(0, levels), plain]);
    const values = this.#take(count(inner, 1));
    const { max_definition, max_repetition } = this.column;
    const repeated = levelsIn(page, [0, repetitions], max_repetition, values);
    const defined = levelsIn(page, [repetitions, levels], max_definition, values);
    if (values - defined.full !== count(inner, 2)) throw new Damage('a page that miscounts its nulls');
    this.#rows += max_repetition > 0 ? repeated.zeros : values;
    this.#checkValues(page, levels, defined.full, count(inner, 4), true);
    this.#keep(pageTypes.data2, page, [
      8,
      [
        [1, values],
        [2, values - defined.full],
        [3, count(inner, 3)],
        [4, count(inner, 4)],
        [5, definitions],
        [6, repetitions],
      ],
    ]);
  }

  #keep(type: number, page: Uint8Array, [id, fields]: readonly [number, readonly (readonly [number, number])[]]): void {
    const head = writeStruct([
      [1, type],
      [2, page.length],
      [3, page.length],
      [id, fields],
    ]);
    this.#parts.push(Uint8Array.from(head), page);
  }

  #take(values: number): number {
    this.#values += values;
    if (this.#values > this.column.values) throw new Damage(`more than the ${this.column.values} values that are told`);
    return values;
  }

  #level(
    page: Uint8Array,
    at: number,
    most: number,
    values: number,
    encoding: number,
  ): { end: number; full: number; zeros: number } {
    if (most === 0) return { end: at, full: values, zeros: values };
    if (encoding !== encodings.rle) throw new Damage('levels in a way of long ago, which is not read');
    const size =
      at + 4 <= page.length ? new DataView(page.buffer, page.byteOffset, page.length).getUint32(at, true) : -1;
    const end = at + 4 + size;
    if (size < 0 || end > page.length) throw new Damage('a page that is shorter than its levels');
    return { end, ...levelsIn(page, [at + 4, end], most, values) };
  }

  #checkValues(page: Uint8Array, begin: number, values: number, encoding: number, second: boolean): void {
    const left = page.length - begin;
    switch (encoding) {
      case encodings.plain:
      case encodings.split:
        this.#checkPlain(page, begin, values);
        return;
      case encodings.plainDictionary:
      case encodings.dictionary:
        this.#checkIndices(page, begin, values, second);
        return;
      case encodings.rle: {
        if (this.column.type !== 'BOOLEAN' || left < 4) throw new Damage('a page of runs that are no booleans');
        checkRuns(page, [begin + 4, page.length], 1, values, () => {});
        return;
      }
      case encodings.deltas:
      case encodings.deltaLengths:
        checkDeltas(page, begin, values);
        return;
      default:
        throw new Damage(
          `its values are written in a way that is not read (encoding ${encoding}): write it with Dataset.to_parquet or pyarrow’s defaults`,
        );
    }
  }

  #checkIndices(page: Uint8Array, begin: number, values: number, second: boolean): void {
    const size = this.#dictionary;
    if (size === undefined) throw new Damage('a page that needs a dictionary, and there is none');
    if (values === 0 && begin === page.length) return;
    const width = page[begin];
    if (width === undefined || width > 32) throw new Damage('a page without the width of its indices');
    const check = (index: number) => {
      if (index >= size) throw new Damage(`index ${index} into a dictionary of ${size}`);
    };
    if (width === 0 && !second) {
      if (values > 0) check(0);
    } else checkRuns(page, [begin + 1, page.length], width, values, check);
  }

  #checkPlain(page: Uint8Array, begin: number, values: number): void {
    const { type, type_length } = this.column;
    const widths: Record<string, number> = {
      BOOLEAN: 1 / 8,
      INT32: 4,
      INT64: 8,
      INT96: 12,
      FLOAT: 4,
      DOUBLE: 8,
      BYTE_ARRAY: 4,
    };
    const width = type === 'FIXED_LEN_BYTE_ARRAY' ? type_length : widths[type];
    if (width === undefined || !(width > 0)) throw new Damage(`values of the type ${type}`);
    if (values * width > page.length - begin) throw new Damage(`${values} values in ${page.length - begin} bytes`);
    if (type === 'BYTE_ARRAY') checkTexts(page, begin, values);
  }

  #unpacked(bytes: Uint8Array, size: number): Uint8Array {
    this.#budget -= size;
    if (this.#budget < 0) throw new Damage(`pages of ${this.bytes.length} bytes claim to be far more`);
    const page = unpack(this.column.codec, bytes, size);
    if (page.length !== size) throw new Damage(`a page of ${page.length} bytes where ${size} are told`);
    return page;
  }
}

/** Each value stands behind its length. */
function checkTexts(page: Uint8Array, begin: number, values: number): void {
  const view = new DataView(page.buffer, page.byteOffset, page.length);
  let at = begin;
  for (let index = 0; index < values; ++index) {
    if (at + 4 > page.length) throw new Damage('a page whose values end too early');
    at += 4 + view.getUint32(at, true);
  }
  if (at > page.length) throw new Damage('a page whose values end too early');
}

/** How many levels are the highest (a value is there), and how many are 0 (a row begins). */
function levelsIn(
  page: Uint8Array,
  range: readonly [number, number],
  most: number,
  values: number,
): { full: number; zeros: number } {
  if (most === 0) return { full: values, zeros: values };
  let [full, zeros] = [0, 0];
  checkRuns(page, range, 32 - Math.clz32(most), values, (level, times) => {
    if (level > most) throw new Damage(`a level of ${level} where ${most} is the highest`);
    if (level === most) full += times;
    if (level === 0) zeros += times;
  });
  return { full, zeros };
}

function count(struct: Struct, id: number, otherwise?: number): number {
  const value = struct.get(id) ?? otherwise;
  if (typeof value !== 'number' || !(value >= 0)) throw new Damage('a page header that lacks a number');
  return value;
}

function part(struct: Struct, id: number): Struct {
  const value = struct.get(id);
  if (typeof value !== 'object') throw new Damage('a page header that lacks a part');
  return value;
}
