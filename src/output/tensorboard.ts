// Event files of TensorBoard: TFRecords (length, its checksum, data, its checksum), each an Event message with a record's numbers as scalars
// under the names that metrics.jsonl has. Written without a buffer, so that TensorBoard sees a step when it is done and a killed run loses none.

import { constants, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PbfWriter } from 'pbf';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';

const HEADER_BYTES = 12;
const FOOTER_BYTES = 4;

export class EventFile implements AsyncDisposable {
  #bytes: number;

  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
    bytes: number,
  ) {
    this.#bytes = bytes;
  }

  /**
   * A new file; a file of that name is emptied. With `bytes` what stands there is cut to that length and written on: a run that is resumed.
   * Where the file is shorter than that, it goes on after its last whole record.
   */
  static async open(path: string, { bytes = 0 }: { bytes?: number } = {}): Promise<EventFile> {
    return onDisk(path, async () => {
      await makeFolder(dirname(path));
      const file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o666);
      try {
        const { size } = await file.stat();
        const kept = size >= bytes ? bytes : await wholeRecords(file, size);
        await file.truncate(kept);
        const events = new EventFile(path, file, kept);
        if (kept === 0) await events.#write(versionEvent(Date.now() / 1000));
        return events;
      } catch (error) {
        await file.close();
        throw error;
      }
    });
  }

  /** How long the file is: what `open` takes to go on from here. */
  get bytes(): number {
    return this.#bytes;
  }

  async append(
    record: Readonly<Record<string, number>> & { readonly step: number },
    wall_time = Date.now() / 1000,
  ): Promise<void> {
    const { step, ...scalars } = record;
    await onDisk(this.path, () => this.#write(scalarsEvent(step, Object.entries(scalars), wall_time)));
  }

  async close(): Promise<void> {
    await this.file.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Each record goes to where the last whole one ended, so that what a failed write left is written over. */
  async #write(event: Uint8Array): Promise<void> {
    const record = framed(event);
    for (let done = 0; done < record.length; ) {
      done += writeSync(this.file.fd, record, done, record.length - done, this.#bytes + done);
    }
    this.#bytes += record.length;
  }
}

// Field numbers: tensorboard/compat/proto/event.proto and summary.proto.

function versionEvent(wall_time: number): Uint8Array {
  const event = new PbfWriter();
  event.writeDoubleField(1, wall_time);
  event.writeStringField(3, 'brain.Event:2');
  return event.finish();
}

function scalarsEvent(step: number, scalars: readonly (readonly [string, number])[], wall_time: number): Uint8Array {
  const event = new PbfWriter();
  event.writeDoubleField(1, wall_time);
  if (step !== 0) event.writeVarintField(2, step);
  event.writeMessage(
    5,
    (values, summary) => {
      for (const value of values) summary.writeMessage(1, writeScalar, value);
    },
    scalars,
  );
  return event.finish();
}

function writeScalar([tag, value]: readonly [string, number], message: PbfWriter): void {
  message.writeStringField(1, tag);
  message.writeFloatField(2, value);
}

function framed(data: Uint8Array): Buffer {
  const record = Buffer.alloc(HEADER_BYTES + data.length + FOOTER_BYTES);
  record.writeBigUInt64LE(BigInt(data.length));
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  record.set(data, HEADER_BYTES);
  record.writeUInt32LE(maskedCrc32c(data), HEADER_BYTES + data.length);
  return record;
}

/** Where the last record ends that is whole, by the lengths that the records state. */
async function wholeRecords(file: FileHandle, size: number): Promise<number> {
  const header = Buffer.alloc(HEADER_BYTES);
  let end = 0;
  while (end + HEADER_BYTES + FOOTER_BYTES <= size) {
    await file.read(header, 0, HEADER_BYTES, end);
    if (header.readUInt32LE(8) !== maskedCrc32c(header.subarray(0, 8))) break;
    const next = end + HEADER_BYTES + Number(header.readBigUInt64LE()) + FOOTER_BYTES;
    if (next > size) break;
    end = next;
  }
  return end;
}

/** Castagnoli's polynomial, reflected. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; ++bit) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** CRC-32C, rotated and shifted as TFRecords want it. */
function maskedCrc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) crc = (table[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
