// What reads .arrow: IPC files and streams, a record batch at a time. Only the columns that a row may have are taken.

import type { RecordBatch } from 'apache-arrow';
import { messageOf } from '../../common/errors.js';
import { BatchFile } from '../arrow/batch_file.js';
import { type Cell, cellsOf } from '../arrow/cells.js';
import { clip, dataError } from '../errors.js';
import { type RawRow, rowKeys, showPlace } from '../rows.js';

export async function* read(path: string): AsyncGenerator<RawRow> {
  const file = await openWhole(path);
  try {
    const names = file.schema.fields.map(({ name }) => name);
    const columns = names.filter((name) => rowKeys.has(name));
    let line = 1;
    for (const batch of file.batch_rows.keys()) {
      const data = await file.read(batch, new Set(columns));
      // Without a column that it knows, the check of the row still names those that are there.
      const row = rowsOf(data, columns.length > 0 ? [] : names);
      for (let at = 0; at < data.numRows; ++at, ++line) {
        const place = { file: path, line, unit: 'row' } as const;
        let value: unknown;
        try {
          value = row(at);
        } catch (error) {
          throw dataError(`${showPlace(place)}: ${clip(messageOf(error))}`, undefined, error);
        }
        yield { place, value };
      }
    }
  } finally {
    await file.close();
  }
}

/** Half a file is not read as if it were one. */
async function openWhole(path: string): Promise<BatchFile> {
  const file = await BatchFile.open(path);
  if (file.complete) return file;
  await file.close();
  const rows = file.batch_rows.reduce((sum, count) => sum + count, 0);
  throw dataError(
    `${path}: the file ends in the middle: ${file.batch_rows.length} record batches (${rows} rows) are whole`,
    'The file was cut, or its writer did not end: write or copy it again.',
  );
}

function rowsOf(batch: RecordBatch, others: readonly string[]): Cell {
  const columns = batch.schema.fields.map(({ name }, place): [string, Cell] => {
    const data = batch.data.children[place];
    return [name, data === undefined ? () => undefined : cellsOf(data)];
  });
  return (row) => {
    const value: Record<string, unknown> = {};
    for (const [name, cell] of columns) value[name] = cell(row);
    for (const name of others) value[name] = undefined;
    return value;
  };
}

export async function detail(path: string): Promise<string> {
  const file = await openWhole(path);
  const { form, batch_rows, compression } = file;
  await file.close();
  const rows = batch_rows.reduce((sum, count) => sum + count, 0);
  const batches = `${batch_rows.length} record ${batch_rows.length === 1 ? 'batch' : 'batches'}`;
  return `Arrow ${form}, ${batches}, ${rows} rows${compression === 'none' ? '' : `, ${compression}`}`;
}
