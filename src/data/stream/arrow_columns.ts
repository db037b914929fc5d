// Columns of a record batch of BatchFile as plain functions of the row. Numbers and ids are looked up where they were read to: nothing is
// copied, and nothing checked again that BatchFile has checked.

import { DataType, Precision, type RecordBatch } from 'apache-arrow';
import { dataError, showKeys } from '../errors.js';

export type Column<Value> = (row: number) => Value;

/** `where` names the file in errors. */
export function stringColumn(batch: RecordBatch, name: string, where: string): Column<string> {
  const { type, data, vector } = columnOf(batch, name, where);
  // Ids of other types (numbers, dictionaries) are shown as text.
  if (!DataType.isUtf8(type)) return (row) => String(vector.get(row));
  const offsets = data.valueOffsets;
  const bytes = Buffer.from(data.values.buffer, data.values.byteOffset, data.values.byteLength);
  return (row) => bytes.toString('utf8', offsets[row], offsets[row + 1]);
}

export function int32Column(batch: RecordBatch, name: string, where: string): Column<number> {
  const { type, data } = columnOf(batch, name, where);
  if (!isInt32(type)) throw otherType(where, name, type, 'int32');
  const values: Int32Array = data.values;
  return (row) => values[row] ?? 0;
}

export function float64Column(batch: RecordBatch, name: string, where: string): Column<number> {
  const { type, data } = columnOf(batch, name, where);
  if (!(DataType.isFloat(type) && type.precision === Precision.DOUBLE)) throw otherType(where, name, type, 'float64');
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
  if (child !== undefined && child.nullCount > 0)
    throw dataError(`${where}: the column ${name} holds null among its ids`);
  const offsets = data.valueOffsets;
  return { at: (row) => values.subarray(offsets[row], offsets[row + 1]), offsets, values };
}

export function intListColumn(batch: RecordBatch, name: string, where: string): Column<Int32Array> {
  return intLists(batch, name, where).at;
}

export function isIntList(type: unknown): boolean {
  return DataType.isList(type) && isInt32(type.children[0]?.type);
}

function isInt32(type: unknown): boolean {
  return DataType.isInt(type) && type.isSigned && type.bitWidth === 32;
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
  const type: unknown = vector.type;
  return { vector, data, type };
}

function otherType(where: string, name: string, type: unknown, wanted: string) {
  return dataError(`${where}: the column ${name} is ${String(type).toLowerCase()}: ${wanted} is needed`);
}
