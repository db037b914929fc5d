// metrics.jsonl: one object a line, flushed as it is written, so that a run can be watched and a killed one be read.

import { type FileHandle, open } from 'node:fs/promises';
import { onDisk } from '../common/on_disk.js';

export class MetricsFile {
  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
  ) {}

  static async create(path: string): Promise<MetricsFile> {
    return new MetricsFile(path, await onDisk(path, () => open(path, 'wx')));
  }

  async append(record: Readonly<Record<string, number>>): Promise<void> {
    await onDisk(this.path, () => this.file.appendFile(metricsLine(record)));
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** JSON has no NaN and no Infinity: they are null, and stay visible as such. */
export function metricsLine(record: Readonly<Record<string, number>>): string {
  return `${JSON.stringify(record, (_, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? null : value))}\n`;
}
