// metrics.jsonl: one object a line, flushed as it is written, so that a run can be watched and a killed one be read.

import { appendFileSync } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { z } from 'zod';
import { onDisk } from '../common/on_disk.js';

export class MetricsFile {
  #bytes: number;

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    bytes: number,
  ) {
    this.#bytes = bytes;
  }

  /** Goes on behind the first `bytes` bytes; what stood behind them is cut off. */
  static async open(path: string, bytes = 0): Promise<MetricsFile> {
    return onDisk(path, async () => {
      const file = await open(path, 'a');
      try {
        const kept = Math.min(bytes, (await file.stat()).size);
        await file.truncate(kept);
        return new MetricsFile(path, file, kept);
      } catch (error) {
        await file.close();
        throw error;
      }
    });
  }

  /** Length of the file. */
  get bytes(): number {
    return this.#bytes;
  }

  async append(record: Readonly<Record<string, number>>): Promise<void> {
    const line = metricsLine(record);
    // At once: the engine waits for it, and a thread of Node's takes longer to hear of a line than to write it.
    await onDisk(this.path, async () => appendFileSync(this.file.fd, line));
    this.#bytes += Buffer.byteLength(line);
  }

  /** What was written survives a power cut. */
  async sync(): Promise<void> {
    await onDisk(this.path, () => this.file.datasync());
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The records of a file, a cut last line left out. */
export async function readMetrics(path: string): Promise<Record<string, number>[]> {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => metricsRecord.parse(JSON.parse(line)));
}

const metricsRecord = z.record(
  z.string(),
  z
    .number()
    .nullable()
    .transform((value) => value ?? Number.NaN),
);

/** JSON has no NaN and no Infinity: they are null, and stay visible as such. */
export function metricsLine(record: Readonly<Record<string, number>>): string {
  return `${JSON.stringify(record, (_, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? null : value))}\n`;
}
