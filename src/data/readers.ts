// The formats of data files: a new one is a file in readers/ and its line in this list. `readRows` is what the rest sees of them. A format is
// recognised by what a file begins with, else by its name; a folder by what is in it.

import { basename } from 'node:path';
import { chunks, firstBytes, withoutMark } from './chunks.js';
import { dataError } from './errors.js';
import { dataFolder } from './folders.js';
import { arrow } from './readers/arrow.js';
import { json } from './readers/json.js';
import { jsonl } from './readers/jsonl.js';
import { parquet } from './readers/parquet.js';
import type { Reader } from './readers/reader.js';
import { parseRow, type Row } from './rows.js';

const readers = [jsonl, json, arrow, parquet] as const;
export type FormatName = (typeof readers)[number]['name'];
type AnyReader = Reader<FormatName>;

/** What data.format may say besides auto. */
export const formatNames: readonly FormatName[] = readers.map(({ name }) => name);

/** What people will try, told by what it begins with or by its name. */
const unread: readonly { begins?: readonly string[]; endings?: readonly string[]; what: string; hint: string }[] = [
  {
    begins: ['28b52ffd', 'fd377a585a00', '425a68', '504b0304'],
    what: 'a compressed file',
    hint: 'Unpack it first; .gz is read as it is.',
  },
  {
    endings: ['.zst', '.xz', '.bz2', '.zip'],
    what: 'a compressed file',
    hint: 'Unpack it first; .gz is read as it is.',
  },
  { begins: ['46454131'], what: 'a Feather file of version 1', hint: 'Write it as version 2, which is Arrow.' },
  {
    endings: ['.csv', '.tsv', '.txt'],
    what: 'a file without the names of a row',
    hint: 'Write its rows as JSON lines.',
  },
];

/** How data files are read. */
export interface ReadOptions {
  /** auto: by what the file begins with, else by its name. */
  format: 'auto' | FormatName;
  /** Most rows of all files together; null: all. */
  limit: number | null;
}

export interface Recognised {
  /** Of the files that hold the rows. */
  format: FormatName;
  /** Such as "Arrow stream, 3 record batches, 3000 rows, zstd". */
  detail: string;
  /** A folder's files in their order. */
  files: readonly string[];
}

/** The rows of the files, in order, one at a time. Rows without an id get `file name:line`. */
export async function* readRows(paths: readonly string[], { format, limit }: ReadOptions): AsyncGenerator<Row> {
  let left = limit ?? Number.POSITIVE_INFINITY;
  for (const path of paths) {
    if (left <= 0) return;
    for (const { file, reader } of await filesOf(path, format)) {
      const name = basename(file);
      for await (const raw of reader.read(file)) {
        yield parseRow(raw, `${name}:${raw.place.line}`);
        left -= 1;
        if (left <= 0) return;
      }
    }
  }
}

/** What a path was taken for, for commands that say so. */
export async function recognise(path: string, format: 'auto' | FormatName = 'auto'): Promise<Recognised> {
  const folder = await dataFolder(path);
  const files = await filesOf(path, format);
  const first = files[0];
  if (first === undefined) return { format: 'arrow', detail: 'Hugging Face data set without files', files: [] };
  const one = await first.reader.detail(first.file);
  const names = files.map(({ file }) => file);
  if (folder === undefined) return { format: first.reader.name, detail: one, files: names };
  const what = folder.kind === 'datasets' ? 'Hugging Face data set' : 'folder';
  const count = files.length === 1 ? 'one file' : `${files.length} files`;
  return {
    format: first.reader.name,
    detail: `${what}, ${count}: ${one}${files.length > 1 ? ' in the first' : ''}`,
    files: names,
  };
}

async function filesOf(path: string, format: 'auto' | FormatName): Promise<{ file: string; reader: AnyReader }[]> {
  const folder = await dataFolder(path);
  const chosen = readers.find(({ name }) => name === format);
  const files: { file: string; reader: AnyReader }[] = [];
  for (const file of folder?.files ?? [path]) files.push({ file, reader: chosen ?? (await readerOf(file)) });
  return files;
}

async function readerOf(path: string): Promise<AnyReader> {
  const start = await firstBytes(path, 64);
  const named = ({ endings = [] }: { endings?: readonly string[] | undefined }) =>
    endings.some((ending) => path.toLowerCase().endsWith(ending));
  const list: readonly AnyReader[] = readers;
  const foreign = unreadBytes(start.toString('hex'));
  const found =
    list.find((reader) => reader.begins?.(start)) ??
    (foreign === undefined ? (list.find(named) ?? (start.length > 0 ? await textReader(path) : undefined)) : undefined);
  if (found !== undefined) return found;
  const known = foreign ?? unread.find(named);
  if (known !== undefined) throw dataError(`${path}: ${known.what}, which is not read`, known.hint);
  throw dataError(
    `${path}: neither its name nor its first bytes tell the format`,
    `Name the file ${list.flatMap(({ endings }) => endings).join(', ')}, or set data.format: ${formatNames.join(', ')}.`,
  );
}

/** By the first character; a whole object in the first line makes it JSON lines. */
async function textReader(path: string): Promise<AnyReader | undefined> {
  for await (const chunk of chunks(path)) {
    const text = withoutMark(chunk).toString('latin1').trimStart();
    if (text.startsWith('[')) return json;
    if (!text.startsWith('{')) return undefined;
    return /^\{.*\}\s*(\n|$)/.test(text.slice(0, text.indexOf('\n') + 1 || text.length)) ? jsonl : json;
  }
  return undefined;
}

const unreadBytes = (hex: string) => unread.find(({ begins = [] }) => begins.some((begin) => hex.startsWith(begin)));
