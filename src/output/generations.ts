// What a policy wrote, as Arrow IPC files: ids exactly as sampled, and text beside them for people.

import { type Data, Field, Int32, List, makeData, makeVector, Table, tableToIPC, Utf8, Vector } from 'apache-arrow';
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
}

export async function writeGenerations(path: string, rows: readonly GenerationRow[]): Promise<void> {
  await writeWhole(path, generationsFile(rows));
}

/** An Arrow IPC file with the columns id, prompt_ids, response_ids, logprob, finish_reason, prompt and response. */
export function generationsFile(rows: readonly GenerationRow[]): Uint8Array {
  const table = new Table({
    id: strings(rows.map((row) => row.id)),
    prompt_ids: idLists(rows.map((row) => row.prompt_ids)),
    response_ids: idLists(rows.map((row) => row.response_ids)),
    logprob: makeVector(Float64Array.from(rows, (row) => row.logprob)),
    finish_reason: strings(rows.map((row) => row.finish_reason)),
    prompt: strings(rows.map((row) => row.prompt)),
    response: strings(rows.map((row) => row.response)),
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

function strings(texts: readonly string[]): Vector<Utf8> {
  const encoded = texts.map((text) => Buffer.from(text, 'utf8'));
  return new Vector([
    makeData({
      type: new Utf8(),
      length: texts.length,
      nullCount: 0,
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
