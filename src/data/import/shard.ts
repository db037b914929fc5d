// A file of an import: an Arrow IPC file to which record batches are appended, and whose metadata is known at the end only. Until it is sealed
// it has no footer, and whatever stands behind its last whole record batch can be cut off and written anew.

import { type FileHandle, open } from 'node:fs/promises';
import {
  Field,
  Int32,
  List,
  Message,
  MetadataVersion,
  makeData,
  RecordBatch,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  Utf8,
} from 'apache-arrow';
import { FileBlock, Footer } from 'apache-arrow/ipc/metadata/file';
import { onDisk } from '../../common/on_disk.js';

/** Rows as they are gathered for a record batch. */
export interface GatheredRows {
  ids: readonly string[];
  prompt_ids: readonly ArrayLike<number>[];
  response_ids: readonly ArrayLike<number>[];
}

const mark = Buffer.from('ARROW1\0\0', 'latin1');
/** Ends a stream, and the messages of a file: continuation mark, length 0. */
const endOfMessages = Buffer.from([0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);

function schemaOf(metadata: Map<string, string>): Schema {
  const ids = () => new List(new Field('item', new Int32(), false));
  const fields = [
    new Field('id', new Utf8(), false),
    new Field('prompt_ids', ids(), false),
    new Field('response_ids', ids(), false),
  ];
  return new Schema(fields, metadata, undefined, MetadataVersion.V5);
}

/** All that stands before the first record batch; as long as the metadata is, and so the same length for the same keys and sizes. */
function headOf(metadata: Map<string, string>): Buffer {
  return Buffer.concat([mark, streamOf(schemaOf(metadata), undefined).subarray(0, -endOfMessages.length)]);
}

function streamOf(schema: Schema, batch: RecordBatch | undefined): Uint8Array {
  const writer = new RecordBatchStreamWriter();
  writer.reset(undefined, schema);
  if (batch) writer.write(batch);
  writer.finish();
  return writer.toUint8Array(true);
}

// The message of a record batch does not depend on the schema's metadata.
const plainSchema = schemaOf(new Map());
const plainHead = streamOf(plainSchema, undefined).length - endOfMessages.length;

/** A record batch as the message that is appended. */
function messageOf(rows: GatheredRows): Uint8Array {
  const texts = rows.ids.map((id) => Buffer.from(id, 'utf8'));
  const id = makeData({
    type: new Utf8(),
    length: texts.length,
    nullCount: 0,
    valueOffsets: offsetsOf(texts),
    data: Buffer.concat(texts),
  });
  const children = [id, listsOf(rows.prompt_ids), listsOf(rows.response_ids)];
  const type = new Struct(plainSchema.fields);
  const data = makeData({ type, length: texts.length, nullCount: 0, children });
  return streamOf(plainSchema, new RecordBatch(plainSchema, data)).subarray(plainHead, -endOfMessages.length);
}

function listsOf(lists: readonly ArrayLike<number>[]) {
  const valueOffsets = offsetsOf(lists);
  const values = new Int32Array(valueOffsets.at(-1) ?? 0);
  for (const [place, list] of lists.entries()) values.set(list, valueOffsets[place]);
  const child = makeData({ type: new Int32(), length: values.length, nullCount: 0, data: values });
  const type = new List(new Field('item', new Int32(), false));
  return makeData({ type, length: lists.length, nullCount: 0, valueOffsets, child });
}

function offsetsOf(lists: readonly { length: number }[]): Int32Array {
  const offsets = new Int32Array(lists.length + 1);
  for (const [place, { length }] of lists.entries()) offsets[place + 1] = (offsets[place] ?? 0) + length;
  return offsets;
}

export class ShardFile {
  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    /** Where the next record batch goes. */
    public bytes: number,
    public rows: number,
  ) {}

  static async create(path: string, metadata: Map<string, string>): Promise<ShardFile> {
    return onDisk(path, async () => {
      const handle = await open(path, 'w+');
      const head = headOf(metadata);
      await writeFully(handle, head, 0);
      return new ShardFile(path, handle, head.length, 0);
    });
  }

  /** Takes up a file where its first `bytes` bytes stand; undefined: they do not. */
  static async reopen(path: string, bytes: number, rows: number): Promise<ShardFile | undefined> {
    return onDisk(path, async () => {
      const handle = await open(path, 'r+').catch(() => undefined);
      if (handle === undefined) return undefined;
      if ((await handle.stat()).size < bytes) {
        await handle.close();
        return undefined;
      }
      await handle.truncate(bytes);
      return new ShardFile(path, handle, bytes, rows);
    });
  }

  async append(rows: GatheredRows): Promise<void> {
    const message = messageOf(rows);
    await onDisk(this.path, () => writeFully(this.handle, message, this.bytes));
    this.bytes += message.length;
    this.rows += rows.ids.length;
  }

  async sync(): Promise<void> {
    await onDisk(this.path, () => this.handle.datasync());
  }

  /** Puts the metadata in, and the footer with the place of each record batch. May be done again after it was broken off. */
  async seal(metadata: Map<string, string>): Promise<number> {
    return onDisk(this.path, async () => {
      const head = headOf(metadata);
      const blocks = await this.#blocks(head.length);
      const footer = Footer.encode(new Footer(schemaOf(metadata), MetadataVersion.V5, blocks, []));
      const size = Buffer.alloc(4);
      size.writeInt32LE(footer.length);
      const tail = Buffer.concat([endOfMessages, footer, size, mark.subarray(0, 6)]);
      await writeFully(this.handle, head, 0);
      await this.handle.truncate(this.bytes);
      await writeFully(this.handle, tail, this.bytes);
      await this.handle.sync();
      return this.bytes + tail.length;
    });
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  async #blocks(begin: number): Promise<FileBlock[]> {
    const blocks: FileBlock[] = [];
    const prefix = Buffer.alloc(8);
    for (let at = begin; at < this.bytes; ) {
      await this.handle.read(prefix, 0, prefix.length, at);
      const metadata = Buffer.alloc(prefix.readInt32LE(4));
      await this.handle.read(metadata, 0, metadata.length, at + prefix.length);
      const body = Number(Message.decode(metadata).bodyLength);
      const length = prefix.length + metadata.length;
      blocks.push(new FileBlock(length, body, at));
      at += length + body;
    }
    return blocks;
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
