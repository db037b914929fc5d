// Rows as Arrow tables and back, column by column. Lists of ids come back as views of the record batch, not as copies.

import {
  type Data,
  type DataType,
  Field,
  Float32,
  Float64,
  Int32,
  List,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  Table,
  Utf8,
  type Vector,
} from 'apache-arrow';
import { GleanerError } from '../common/errors.js';
import { float64Column, int32Column, intListColumn } from '../data/stream/arrow_columns.js';

/** One column of rows: how it is written, and how its cells are read back. */
export interface Column<Row, Value> {
  type: DataType;
  write(rows: readonly Row[]): Data;
  /** `where` names the file in errors. */
  read(batch: RecordBatch, name: string, where: string): (row: number) => Value;
}

export type Columns<Row> = { readonly [name: string]: Column<Row, unknown> };

const item = (type: DataType) => new Field('item', type, false);

export function text<Row>(of: (row: Row) => string): Column<Row, string> {
  return {
    type: new Utf8(),
    write(rows) {
      const encoded = rows.map((row) => Buffer.from(of(row), 'utf8'));
      return makeData({
        type: new Utf8(),
        length: rows.length,
        nullCount: 0,
        valueOffsets: offsetsOf(encoded),
        data: Buffer.concat(encoded),
      });
    },
    read(batch, name) {
      const column = vectorOf(batch, name);
      return (row) => {
        const value: unknown = column.get(row);
        if (typeof value !== 'string') throw damaged(name);
        return value;
      };
    },
  };
}

/** A word of a fixed list. */
export function oneOf<Row, Word extends string>(words: readonly Word[], of: (row: Row) => Word): Column<Row, Word> {
  const column = text(of);
  return {
    ...column,
    read(batch, name, where) {
      const cell = column.read(batch, name, where);
      return (row) => {
        const found = words.find((word) => word === cell(row));
        if (found === undefined) throw damaged(name);
        return found;
      };
    },
  };
}

export function ids<Row>(of: (row: Row) => ArrayLike<number>): Column<Row, Int32Array> {
  return {
    type: new List(item(new Int32())),
    write(rows) {
      const { valueOffsets, values } = flat(rows.map(of), (size) => new Int32Array(size));
      const child = makeData({ type: new Int32(), data: values });
      return makeData({ type: new List(item(new Int32())), length: rows.length, nullCount: 0, valueOffsets, child });
    },
    read: intListColumn,
  };
}

export function floats<Row>(of: (row: Row) => ArrayLike<number>): Column<Row, Float32Array> {
  return {
    type: new List(item(new Float32())),
    write(rows) {
      const { valueOffsets, values } = flat(rows.map(of), (size) => new Float32Array(size));
      const child = makeData({ type: new Float32(), data: values });
      return makeData({ type: new List(item(new Float32())), length: rows.length, nullCount: 0, valueOffsets, child });
    },
    read(batch, name) {
      const { offsets, values } = listOf(batch, name);
      if (!(values instanceof Float32Array)) throw damaged(name);
      return (row) => values.subarray(offsets[row], offsets[row + 1]);
    },
  };
}

export function integer<Row>(of: (row: Row) => number): Column<Row, number> {
  return {
    type: new Int32(),
    write: (rows) => makeData({ type: new Int32(), data: Int32Array.from(rows, of) }),
    read: int32Column,
  };
}

export function double<Row>(of: (row: Row) => number): Column<Row, number> {
  return {
    type: new Float64(),
    write: (rows) => makeData({ type: new Float64(), data: Float64Array.from(rows, of) }),
    read: float64Column,
  };
}

export function schemaOf<Row>(columns: Columns<Row>, metadata: ReadonlyMap<string, string>): Schema {
  const fields = entries(columns).map(([name, column]) => new Field(name, column.type, false));
  return new Schema(fields, new Map(metadata));
}

export function batchOf<Row>(columns: Columns<Row>, rows: readonly Row[], schema: Schema): RecordBatch {
  const children = entries(columns).map(([, column]) => column.write(rows));
  const type = new Struct(schema.fields);
  return new RecordBatch(schema, makeData({ type, length: rows.length, nullCount: 0, children }));
}

export function tableOf<Row>(
  columns: Columns<Row>,
  rows: readonly Row[],
  metadata: ReadonlyMap<string, string> = new Map(),
): Table {
  const schema = schemaOf(columns, metadata);
  return new Table(schema, rows.length > 0 ? [batchOf(columns, rows, schema)] : []);
}

/** A row as it is read: lists are typed arrays. */
export type RowRead<Some> = {
  [Name in keyof Some]: Some[Name] extends Column<never, infer Value> ? Value : never;
};

/** The rows of a record batch, made one by one as they are asked for. */
export function rowsOf<Some extends Columns<never>>(
  columns: Some,
  batch: RecordBatch,
  where: string,
): (row: number) => RowRead<Some> {
  const cells = entries(columns).map(([name, column]) => [name, column.read(batch, name, where)] as const);
  return (row) => Object.fromEntries(cells.map(([name, read]) => [name, read(row)])) as RowRead<Some>; // each column checks its cells
}

function entries<Row>(columns: Columns<Row>): [string, Column<Row, unknown>][] {
  return Object.entries(columns);
}

function vectorOf(batch: RecordBatch, name: string): Vector {
  const column = batch.getChild(name);
  if (column === null) throw damaged(name);
  return column;
}

function listOf(batch: RecordBatch, name: string): { offsets: Int32Array; values: unknown } {
  const data = vectorOf(batch, name).data[0];
  const offsets: unknown = data?.valueOffsets;
  if (!(offsets instanceof Int32Array)) throw damaged(name);
  return { offsets, values: data?.children[0]?.values };
}

function damaged(name: string): GleanerError {
  return new GleanerError('ERR_GLEANER_DATA', `column ${name} is not what gleaner wrote there`);
}

function flat<Values extends Int32Array | Float32Array>(
  lists: readonly ArrayLike<number>[],
  make: (size: number) => Values,
): { valueOffsets: Int32Array; values: Values } {
  const valueOffsets = offsetsOf(lists);
  const values = make(valueOffsets.at(-1) ?? 0);
  for (const [place, list] of lists.entries()) values.set(list, valueOffsets[place]);
  return { valueOffsets, values };
}

function offsetsOf(lists: readonly { length: number }[]): Int32Array {
  const offsets = new Int32Array(lists.length + 1);
  for (const [place, { length }] of lists.entries()) offsets[place + 1] = (offsets[place] ?? 0) + length;
  return offsets;
}
