// The formats of data files: a new one is a file in readers/ and its line in this list. `readRows` is what the rest sees of them.

import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { dataError } from './errors.js';
import { json } from './readers/json.js';
import { jsonl } from './readers/jsonl.js';
import { parseRow, type Row } from './rows.js';

const readers = [jsonl, json] as const;
type Format = (typeof readers)[number]['name'];

/** Formats that people will try, and how they get their rows in today. */
const unread: readonly { endings: readonly string[]; what: string; hint: string }[] = [
  { endings: ['.gz', '.zst', '.xz', '.bz2', '.zip'], what: 'a compressed file', hint: 'Unpack it first.' },
  {
    endings: ['.arrow', '.parquet', '.feather'],
    what: 'an Arrow or Parquet file',
    hint: 'Write it as JSON lines: Dataset.to_json(FILE) in Hugging Face datasets does.',
  },
  {
    endings: ['.csv', '.tsv', '.txt'],
    what: 'a file without the names of a row',
    hint: 'Write its rows as JSON lines.',
  },
];

export interface ReadOptions {
  /** auto: by the ending of the file's name. */
  format: 'auto' | Format;
  /** Most rows of all files together; null: all. */
  limit: number | null;
}

/** The rows of the files, in order, one at a time. Rows without an id get `file name:line`. */
export async function* readRows(paths: readonly string[], { format, limit }: ReadOptions): AsyncGenerator<Row> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  for (const path of paths) {
    const reader = readers.find(({ name }) => name === format) ?? (await readerOf(path));
    const name = basename(path);
    if (left <= 0) return;
    for await (const raw of reader.read(path)) {
      yield parseRow(raw, `${name}:${raw.place.line}`);
      left -= 1;
      if (left <= 0) return;
    }
  }
}

async function readerOf(path: string): Promise<(typeof readers)[number]> {
  const has = ({ endings }: { endings: readonly string[] }) =>
    endings.some((ending) => path.toLowerCase().endsWith(ending));
  const reader = readers.find(has);
  if (reader !== undefined) return reader;
  const known = unread.find(has);
  if (known !== undefined) throw dataError(`${path}: ${known.what}, which this version does not read`, known.hint);
  if ((await stat(path).catch(() => undefined))?.isDirectory())
    throw dataError(
      `${path}: a folder, which this version does not read`,
      'Name the files in it; rows of a Hugging Face data set: Dataset.to_json(FILE).',
    );
  throw dataError(
    `${path}: the name does not tell the format`,
    `Name the file ${readers.flatMap(({ endings }) => endings).join(', ')}, or set data.format: ${readers.map(({ name }) => name).join(' or ')}.`,
  );
}
