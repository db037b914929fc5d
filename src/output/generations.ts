// What a policy wrote, as Arrow IPC files: ids exactly as sampled, and text beside them for people.

import { readFile } from 'node:fs/promises';
import {
  type Data,
  DataType,
  Field,
  Int32,
  List,
  makeData,
  makeVector,
  Table,
  tableFromIPC,
  tableToIPC,
  Utf8,
  Vector,
} from 'apache-arrow';
import { GleanerError, messageOf } from '../common/errors.js';
import { writeWhole } from './folder.js';

export interface GenerationRow {
  id: string;
  prompt_ids: ArrayLike<number>;
  response_ids: ArrayLike<number>;
  /** Sum of log π(token) at temperature 1. */
  logprob: number;
  finish_reason: string;
  prompt: string;
  response: string;
  /** The answer that the data has to this prompt. */
  demonstration?: string | undefined;
}

export async function writeGenerations(path: string, rows: readonly GenerationRow[]): Promise<void> {
  await writeWhole(path, generationsFile(rows));
}

/** An Arrow IPC file with the columns id, prompt_ids, response_ids, logprob, finish_reason, prompt, response and, where a row has one, demonstration. */
export function generationsFile(rows: readonly GenerationRow[]): Uint8Array {
  const table = new Table({
    id: strings(rows.map((row) => row.id)),
    prompt_ids: idLists(rows.map((row) => row.prompt_ids)),
    response_ids: idLists(rows.map((row) => row.response_ids)),
    logprob: makeVector(Float64Array.from(rows, (row) => row.logprob)),
    finish_reason: strings(rows.map((row) => row.finish_reason)),
    prompt: strings(rows.map((row) => row.prompt)),
    response: strings(rows.map((row) => row.response)),
    ...(rows.some((row) => row.demonstration !== undefined)
      ? { demonstration: strings(rows.map((row) => row.demonstration)) }
      : {}),
  });
  return tableToIPC(table, 'file');
}

/** list<int32>: offsets into one array of values. */
function idLists(lists: readonly ArrayLike<number>[]): Vector<List<Int32>> {
  const valueOffsets = offsetsOf(lists);
  const values = new Int32Array(valueOffsets.at(-1) ?? 0);
  for (const [place, list] of lists.entries()) values.set(list, valueOffsets[place]);
  const child: Data<Int32> = makeData({ type: new Int32(), data: values });
  const type = new List(new Field('item', new Int32(), false));
  return new Vector([makeData({ type, length: lists.length, nullCount: 0, valueOffsets, child })]);
}

/** utf8; undefined is null. */
function strings(texts: readonly (string | undefined)[]): Vector<Utf8> {
  const encoded = texts.map((text) => Buffer.from(text ?? '', 'utf8'));
  const nullCount = texts.filter((text) => text === undefined).length;
  const nullBitmap = new Uint8Array(nullCount > 0 ? Math.ceil(texts.length / 8) : 0);
  if (nullCount > 0) {
    for (const [place, text] of texts.entries())
      if (text !== undefined) nullBitmap[place >> 3] = (nullBitmap[place >> 3] ?? 0) | (1 << (place & 7));
  }
  return new Vector([
    makeData({
      type: new Utf8(),
      length: texts.length,
      nullCount,
      ...(nullCount > 0 ? { nullBitmap } : {}),
      valueOffsets: offsetsOf(encoded),
      data: Buffer.concat(encoded),
    }),
  ]);
}

function offsetsOf(lists: readonly { length: number }[]): Int32Array {
  const offsets = new Int32Array(lists.length + 1);
  for (const [place, { length }] of lists.entries()) offsets[place + 1] = (offsets[place] ?? 0) + length;
  return offsets;
}

export interface Generations {
  /** The first `limit` rows. */
  rows: GenerationRow[];
  /** How many the file has. */
  num_rows: number;
}

/** Reads what writeGenerations wrote. */
export async function readGenerations(
  path: string,
  { limit = Number.POSITIVE_INFINITY }: { limit?: number } = {},
): Promise<Generations> {
  try {
    const table = tableFromIPC(await readFile(path));
    const num_rows = table.numRows;
    const column = columnsOf(table, Math.min(num_rows, limit));
    const [id, logprob, finish_reason] = [column.text('id'), column.number('logprob'), column.text('finish_reason')];
    const [prompt_ids, response_ids] = [column.ids('prompt_ids'), column.ids('response_ids')];
    const [prompt, response] = [column.text('prompt'), column.text('response')];
    const demonstration = table.getChild('demonstration') ? column.text('demonstration') : undefined;
    const rows = Array.from({ length: Math.min(num_rows, limit) }, (_, row): GenerationRow => {
      const real = demonstration?.(row);
      return {
        id: id(row) ?? '',
        prompt_ids: prompt_ids(row),
        response_ids: response_ids(row),
        logprob: logprob(row),
        finish_reason: finish_reason(row) ?? '',
        prompt: prompt(row) ?? '',
        response: response(row) ?? '',
        ...(real === undefined ? {} : { demonstration: real }),
      };
    });
    return { rows, num_rows };
  } catch (cause) {
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      `${path}: not an Arrow file of generations: ${messageOf(cause)}`,
      'Name a generations.arrow or samples/step-N.arrow that gleaner wrote.',
      { cause },
    );
  }
}

/** Readers of a table's columns by name; a column that is missing, of another type or shorter than `rows` is an error. */
function columnsOf(table: Table, rows: number) {
  const column = (name: string, fits: (type: DataType) => boolean): Vector => {
    const found = table.getChild(name);
    if (!found) throw new Error(`it has no column ${name}`);
    if (!fits(found.type)) throw new Error(`column ${name} is ${found.type}`);
    if (found.length < rows) throw new Error(`column ${name} has ${found.length} of ${rows} rows`);
    return found;
  };
  return {
    text(name: string): (row: number) => string | undefined {
      const found = column(name, DataType.isUtf8);
      return (row) => {
        const value: unknown = found.get(row);
        return typeof value === 'string' ? value : undefined;
      };
    },
    number(name: string): (row: number) => number {
      const found = column(name, DataType.isFloat);
      return (row) => Number(found.get(row));
    },
    ids(name: string): (row: number) => Int32Array {
      const found = column(name, (type) => DataType.isList(type) && DataType.isInt(type.children[0]?.type));
      return (row) => {
        const value: unknown = found.get(row);
        const ids: unknown = value instanceof Vector ? value.toArray() : undefined;
        return ids instanceof Int32Array ? ids : new Int32Array();
      };
    },
  };
}
