// Columns of a record batch as the values that JSON would have: texts, numbers, lists, objects, null. Numbers beyond what a double holds exactly
// stay bigint. Types that no row has are told by name.

import { type Data, DataType } from 'apache-arrow';
import { Damage } from './damage.js';

/** The value at a place of one column. */
export type Cell = (row: number) => unknown;

/** A column that a row cannot use gives its type's name, which the row's check then refuses. */
export class OtherType {
  constructor(private readonly type: string) {}

  toString(): string {
    return this.type;
  }
}

export function cellsOf(data: Data): Cell {
  const value = valuesOf(data);
  const { nullBitmap, nullCount, type } = data;
  if (DataType.isNull(type)) return () => null;
  if (!(nullCount > 0) || nullBitmap.length === 0) return value;
  return (row) => (((nullBitmap[row >> 3] ?? 0) & (1 << (row & 7))) === 0 ? null : value(row));
}

function valuesOf(data: Data): Cell {
  const { type } = data;
  if (DataType.isUtf8(type) || DataType.isLargeUtf8(type)) {
    const { values, valueOffsets } = data;
    return (row) => decode(values.subarray(Number(valueOffsets[row]), Number(valueOffsets[row + 1])));
  }
  if (DataType.isUtf8View(type)) return viewsOf(data);
  if (DataType.isInt(type)) {
    const { values } = data;
    return (row) => plainNumber(values[row]);
  }
  if (DataType.isFloat(type) && type.precision > 0) {
    const { values } = data;
    return (row) => values[row];
  }
  if (DataType.isBool(type)) {
    const { values } = data;
    return (row) => ((values[row >> 3] ?? 0) & (1 << (row & 7))) !== 0;
  }
  if (DataType.isDictionary(type)) return dictionaryOf(data);
  if (DataType.isStruct(type)) {
    const fields = type.children.map((field, place) => [field.name, cellsOf(child(data, place))] as const);
    return (row) => Object.fromEntries(fields.map(([name, cell]) => [name, cell(row)]));
  }
  if (DataType.isFixedSizeList(type)) return listsOf(data, (row) => row * type.listSize);
  if (DataType.isList(type) || DataType.isLargeList(type)) {
    const { valueOffsets } = data;
    return listsOf(data, (row) => Number(valueOffsets[row]));
  }
  const other = new OtherType(String(type));
  return () => other;
}

function listsOf(data: Data, begin: (row: number) => number): Cell {
  const item = child(data, 0);
  const cell = cellsOf(item);
  const { values, type, nullCount } = item;
  // Lists of token ids, the long ones, need no function call a value.
  if (DataType.isInt(type) && type.bitWidth < 64 && nullCount === 0)
    return (row) => Array.from<number>(values.subarray(begin(row), begin(row + 1)));
  return (row) => {
    const list: unknown[] = [];
    for (let at = begin(row); at < begin(row + 1); ++at) list.push(cell(at));
    return list;
  };
}

function dictionaryOf({ values, dictionary }: Data): Cell {
  const parts = (dictionary?.data ?? []).map((part) => ({ cell: cellsOf(part), length: part.length }));
  return (row) => {
    let at = Number(values[row]);
    for (const { cell, length } of parts) {
      if (at < length) return cell(at);
      at -= length;
    }
    throw new Damage('an index outside of its dictionary');
  };
}

/** A view: its length, then up to 12 bytes, or 4 bytes, the number of a buffer and an offset into it. */
function viewsOf({ values, variadicBuffers }: Data): Cell {
  const view = new DataView(values.buffer, values.byteOffset, values.byteLength);
  return (row) => {
    const size = view.getInt32(16 * row, true);
    if (size <= 12) return decode(values.subarray(16 * row + 4, 16 * row + 4 + size));
    const begin = view.getInt32(16 * row + 12, true);
    return decode((variadicBuffers[view.getInt32(16 * row + 8, true)] ?? values).subarray(begin, begin + size));
  };
}

function child(data: Data, place: number): Data {
  const inner = data.children[place];
  if (inner === undefined) throw new Damage('a column without its values');
  return inner;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export function decode(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw new Damage('text that is not UTF-8');
  }
}

export const plainNumber = (value: unknown): unknown =>
  typeof value === 'bigint' && BigInt.asIntN(54, value) === value ? Number(value) : value;
