// What reads .parquet: a row group at a time. Only the columns that a row may have are read.

import { plainNumber } from '../arrow/cells.js';
import { ParquetFile } from '../parquet/file.js';
import { type RawRow, rowKeys } from '../rows.js';

export async function* read(path: string): AsyncGenerator<RawRow> {
  const file = await ParquetFile.open(path);
  try {
    const columns = file.names.filter((name) => rowKeys.has(name));
    let line = 1;
    for (const [group, count] of file.group_rows.entries()) {
      // Without a column that it knows, the check of the row still names those that are there.
      const rows = columns.length > 0 ? await file.rows(group, columns) : nameless(file.names, count);
      for (const row of rows) yield { place: { file: path, line: line++, unit: 'row' }, value: plain(row) };
    }
  } finally {
    await file.close();
  }
}

const nameless = (names: readonly string[], count: number) =>
  count === 0 ? [] : [Object.fromEntries(names.map((name) => [name, undefined]))];

/** Values as JSON has them. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'bigint') return plainNumber(value);
  // hyparquet leaves out lists that are null.
  if (value === undefined) return null;
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  if (ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

export async function detail(path: string): Promise<string> {
  const file = await ParquetFile.open(path);
  const { group_rows, compression } = file;
  await file.close();
  const rows = group_rows.reduce((sum, count) => sum + count, 0);
  return `Parquet, ${group_rows.length} row ${group_rows.length === 1 ? 'group' : 'groups'}, ${rows} rows${compression === 'none' ? '' : `, ${compression}`}`;
}
