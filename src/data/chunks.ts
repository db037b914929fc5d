// The bytes of a file in pieces, and the JSON value in some of them. A row is held in memory whole, so it has a largest size.

import { createReadStream } from 'node:fs';
import { messageOf } from '../common/errors.js';
import { clip, dataError, fileError } from './errors.js';
import type { Place } from './rows.js';

export const maxRowBytes = 2 ** 26;

export async function* chunks(path: string): AsyncGenerator<Buffer> {
  const stream: AsyncIterable<unknown> = createReadStream(path, { highWaterMark: 2 ** 18 });
  try {
    for await (const chunk of stream) if (Buffer.isBuffer(chunk)) yield chunk;
  } catch (error) {
    throw fileError(path, error);
  }
}

/** Collects the bytes of one row from several chunks. */
export class RowBytes {
  #parts: Buffer[] = [];
  #size = 0;

  add(part: Buffer, { file, line }: Place): void {
    this.#size += part.length;
    if (this.#size > maxRowBytes) {
      throw dataError(
        `${file}:${line}: this row is longer than ${maxRowBytes / 2 ** 20} MiB`,
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
export function parseJson(bytes: Buffer, { file, line }: Place): unknown {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (error) {
    throw dataError(`${file}:${line}: not UTF-8 text`, 'Save the file as UTF-8.', error);
  }
  if (text.trim() === '') return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch (error) {
    throw dataError(
      `${file}:${line}: not JSON: ${clip(messageOf(error), 160)}`,
      'Every row is one JSON object; in .jsonl, one a line.',
      error,
    );
  }
}

/** Without the byte order mark that some editors put before UTF-8. */
export function withoutMark(first: Buffer): Buffer {
  return first[0] === 0xef && first[1] === 0xbb && first[2] === 0xbf ? first.subarray(3) : first;
}
