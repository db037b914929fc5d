// How many rows files hold, where that is known without parsing them: for a progress bar, so an estimate will do and no file is refused.

import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet';
import { BatchFile } from '../arrow/batch_file.js';
import { chunks } from '../chunks.js';
import type { FormatName } from '../readers.js';

/** undefined: for one of them it cannot be told. */
export async function countRows(files: readonly { path: string; format: FormatName }[]): Promise<number | undefined> {
  let rows = 0;
  for (const file of files) {
    const count = await countRowsOf(file).catch(() => undefined);
    if (count === undefined) return undefined;
    rows += count;
  }
  return rows;
}

async function countRowsOf({ path, format }: { path: string; format: FormatName }): Promise<number | undefined> {
  switch (format) {
    case 'jsonl':
      return lines(path);
    case 'parquet':
      return Number((await parquetMetadataAsync(await asyncBufferFromFile(path))).num_rows);
    case 'arrow': {
      await using file = await BatchFile.open(path);
      return file.batch_rows.reduce((sum, rows) => sum + rows, 0);
    }
    case 'json':
      return undefined;
    default:
      return format satisfies never;
  }
}

async function lines(path: string): Promise<number> {
  let count = 0;
  let last = 0x0a;
  for await (const chunk of chunks(path)) {
    for (let at = chunk.indexOf(0x0a); at >= 0; at = chunk.indexOf(0x0a, at + 1)) count += 1;
    last = chunk.at(-1) ?? last;
  }
  return last === 0x0a ? count : count + 1;
}
