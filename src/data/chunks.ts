// The bytes of a text file in pieces, unpacked where it is gzip, and the JSON value in some of them. A row is held in memory whole, so it has a
// largest size.

import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { messageOf } from '../common/errors.js';
import { clip, dataError, fileError } from './errors.js';
import { type Place, showPlace } from './rows.js';

export const maxRowBytes = 2 ** 26;
const chunkBytes = 2 ** 18;

/** The first bytes of a file as they lie there; fewer where it is shorter, none of a pipe, which gives its bytes only once. */
export async function firstBytes(path: string, count: number): Promise<Buffer> {
  try {
    if (!(await stat(path)).isFile()) return Buffer.alloc(0);
    const handle = await open(path, 'r');
    try {
      const bytes = Buffer.alloc(count);
      let filled = 0;
      for (let last = 1; last > 0 && filled < count; filled += last)
        last = (await handle.read(bytes, filled, count - filled, filled)).bytesRead;
      return bytes.subarray(0, filled);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fileError(path, error);
  }
}

export const isGzip = (start: Buffer) => start[0] === 0x1f && start[1] === 0x8b;

/** `line` says how far the reader came: a file whose gzip data is damaged is an error of that line. */
export async function* chunks(path: string, line: () => number = () => 1): AsyncGenerator<Buffer> {
  const packed = isGzip(await firstBytes(path, 2));
  const file = createReadStream(path, { highWaterMark: chunkBytes });
  // The callback's error also reaches whoever reads from the last stream.
  const stream: AsyncIterable<unknown> = packed
    ? pipeline(file, createGunzip({ chunkSize: chunkBytes }), () => {})
    : file;
  try {
    for await (const chunk of stream) if (Buffer.isBuffer(chunk)) yield chunk;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (!code.startsWith('Z_')) throw fileError(path, error);
    throw code === 'Z_BUF_ERROR'
      ? dataError(`${path}:${line()}: the gzip data end here, in the middle`, 'The file was cut: copy it again.', error)
      : dataError(`${path}:${line()}: damaged gzip data: ${clip(messageOf(error))}`, 'Copy the file again.', error);
  } finally {
    file.destroy();
  }
}

/** Collects the bytes of one row from several chunks. */
export class RowBytes {
  #parts: Buffer[] = [];
  #size = 0;

  add(part: Buffer, place: Place): void {
    this.#size += part.length;
    if (this.#size > maxRowBytes) {
      throw dataError(
        `${showPlace(place)}: this row is longer than ${maxRowBytes / 2 ** 20} MiB`,
        'Split the row, or check that the file is what its name says.',
      );
    }
    if (part.length > 0) this.#parts.push(part);
  }

  /** What was collected; begins anew. */
  take(): Buffer {
    const bytes = this.#parts.length === 1 ? this.#parts[0] : undefined;
    const all = bytes ?? Buffer.concat(this.#parts);
    this.#parts = [];
    this.#size = 0;
    return all;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** One JSON value; undefined where there is only white space. */
export function parseJson(bytes: Buffer, place: Place): unknown {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (error) {
    throw dataError(`${showPlace(place)}: not UTF-8 text`, 'Save the file as UTF-8.', error);
  }
  if (text.trim() === '') return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch (error) {
    throw dataError(
      `${showPlace(place)}: not JSON: ${clip(messageOf(error), 160)}`,
      'Every row is one JSON object; in .jsonl, one a line.',
      error,
    );
  }
}

/** Without the byte order mark that some editors put before UTF-8. */
export function withoutMark(first: Buffer): Buffer {
  return first[0] === 0xef && first[1] === 0xbb && first[2] === 0xbf ? first.subarray(3) : first;
}
