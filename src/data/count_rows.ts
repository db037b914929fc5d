// How many rows files hold, where that is known without parsing them: for a progress bar, so an estimate will do and no file is refused.

import { createReadStream } from 'node:fs';
import { createGunzip } from 'node:zlib';
import { asyncBufferFromFile, parquetMetadataAsync } from 'hyparquet';
import { BatchFile } from './arrow/batch_file.js';

/** undefined: for one of them it cannot be told. */
export async function countRows(paths: readonly string[]): Promise<number | undefined> {
  let rows = 0;
  for (const path of paths) {
    if (/\/(state|dataset_info|dataset_dict)\.json$/.test(path)) continue; // of a folder of Hugging Face datasets
    const count = await countRowsOf(path).catch(() => undefined);
    if (count === undefined) return undefined;
    rows += count;
  }
  return rows;
}

async function countRowsOf(path: string): Promise<number | undefined> {
  if (/\.(jsonl|ndjson)(\.gz)?$/i.test(path)) return lines(path);
  if (/\.parquet$/i.test(path)) return Number((await parquetMetadataAsync(await asyncBufferFromFile(path))).num_rows);
  if (!/\.(arrow|feather)$/i.test(path)) return undefined;
  await using file = await BatchFile.open(path);
  return file.batch_rows.reduce((sum, rows) => sum + rows, 0);
}

async function lines(path: string): Promise<number> {
  const file = createReadStream(path, { highWaterMark: 2 ** 20 });
  const stream: AsyncIterable<unknown> = /\.gz$/i.test(path) ? file.pipe(createGunzip()) : file;
  let count = 0;
  let last = 0x0a;
  for await (const chunk of stream) {
    if (!Buffer.isBuffer(chunk)) continue;
    for (let at = chunk.indexOf(0x0a); at >= 0; at = chunk.indexOf(0x0a, at + 1)) count += 1;
    last = chunk.at(-1) ?? last;
  }
  return last === 0x0a ? count : count + 1;
}
