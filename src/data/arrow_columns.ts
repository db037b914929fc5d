// Columns of a record batch as plain functions of the row. Numbers and ids are looked up where they were read to: nothing is copied.

import { DataType, Float64, Int32, type RecordBatch, Utf8 } from 'apache-arrow';
import { dataError, showKeys } from './errors.js';

export type Column<Value> = (row: number) => Value;

/** `where` names the file in errors. */
export function stringColumn(batch: RecordBatch, name: string, where: string): Column<string> {
  const { type, data, vector } = columnOf(batch, name, where);
  // Ids of other types (numbers, dictionaries) are shown as text.
  if (!(type instanceof Utf8)) return (row) => String(vector.get(row));
  const offsets = checkedOffsets(data.valueOffsets, batch.numRows, data.values.length, `${where}: ${name}`);
  const bytes = Buffer.from(data.values.buffer, data.values.byteOffset, data.values.byteLength);
  return (row) => bytes.toString('utf8', offsets[row], offsets[row + 1]);
}

export function int32Column(batch: RecordBatch, name: string, where: string): Column<number> {
  const { type, data } = columnOf(batch, name, where);
  if (!(type instanceof Int32)) throw otherType(where, name, type, 'int32');
  const values: Int32Array = data.values;
  return (row) => values[row] ?? 0;
}

export function float64Column(batch: RecordBatch, name: string, where: string): Column<number> {
  const { type, data } = columnOf(batch, name, where);
  if (!(type instanceof Float64)) throw otherType(where, name, type, 'float64');
  const values: Float64Array = data.values;
  return (row) => values[row] ?? 0;
}

/** Lists of int32, each a view. */
export interface IntLists {
  at: Column<Int32Array>;
  /** [rows + 1], into values. */
  offsets: Int32Array;
  values: Int32Array;
}

export function intLists(batch: RecordBatch, name: string, where: string): IntLists {
  const { type, data } = columnOf(batch, name, where);
  if (!isIntList(type)) throw otherType(where, name, type, 'list<int32>');
  const child = data.children[0];
  const values: unknown = child?.values;
  if (!(values instanceof Int32Array)) throw dataError(`${where}: the column ${name} has no values`);
  if (child !== undefined && child.nullCount > 0) throw dataError(`${where}: the column ${name} holds null among its ids`);
  const offsets = checkedOffsets(data.valueOffsets, batch.numRows, values.length, `${where}: ${name}`);
  return { at: (row) => values.subarray(offsets[row], offsets[row + 1]), offsets, values };
}

export function intListColumn(batch: RecordBatch, name: string, where: string): Column<Int32Array> {
  return intLists(batch, name, where).at;
}

export function isIntList(type: unknown): boolean {
  return DataType.isList(type) && type.children[0]?.type instanceof Int32;
}

function columnOf(batch: RecordBatch, name: string, where: string) {
  const vector = batch.getChild(name);
  const data = vector?.data[0];
  if (vector === null || data === undefined) {
    const names = batch.schema.fields.map((field) => String(field.name));
    throw dataError(`${where}: the column ${name} is missing`, `The file has ${showKeys(names)}.`);
  }
  if (data.nullCount > 0) {
    const row = Array.from({ length: batch.numRows }, (_, place) => place).find((place) => !data.getValid(place));
    throw dataError(`${where}: the column ${name} holds null, first in row ${(row ?? 0) + 1} of its record batch`);
  }
  return { vector, data, type: vector.type as unknown };
}

/** Offsets of a damaged file may point anywhere. */
function checkedOffsets(offsets: unknown, rows: number, size: number, what: string): Int32Array {
  if (rows === 0) return new Int32Array(1);
  if (!(offsets instanceof Int32Array) || offsets.length < rows + 1) throw dataError(`${what}: offsets are missing`);
  let before = offsets[0] ?? 0;
  if (before < 0) throw dataError(`${what}: the offset ${before}`);
  for (let row = 1; row <= rows; ++row) {
    const offset = offsets[row] ?? -1;
    if (offset < before) throw dataError(`${what}: the offset ${offset} of row ${row} lies before ${before}`);
    before = offset;
  }
  if (before > size) throw dataError(`${what}: the offset ${before} lies behind the end of ${size} values`);
  return offsets;
}

function otherType(where: string, name: string, type: unknown, wanted: string) {
  return dataError(`${where}: the column ${name} is ${String(type)}: ${wanted} is needed`);
}
