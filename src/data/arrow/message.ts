// One message of an Arrow file: its metadata, checked and decoded. What its numbers say about buffers is checked where those are read.

import { type CompressionType, Message, type Schema } from 'apache-arrow';
import { Footer } from 'apache-arrow/ipc/metadata/file';
import { Damage } from './damage.js';
import { checkFooter, checkMessage } from './flatbuffer.js';

export interface BatchHeader {
  readonly length: number;
  readonly nodes: readonly { readonly length: number; readonly nullCount: number }[];
  readonly buffers: readonly { readonly offset: number; readonly length: number }[];
  readonly compression: { readonly type: CompressionType } | null;
  readonly variadicBufferCounts: readonly number[];
}

export type ArrowMessage = { body: number } & (
  | { kind: 'schema'; schema: Schema }
  | { kind: 'batch'; header: BatchHeader }
  | { kind: 'dictionary'; id: number; delta: boolean; header: BatchHeader }
);

/** Metadata of a message that is longer belongs to no file. */
export const maxMetadataBytes = 2 ** 26;

export function decodeMessage(metadata: Uint8Array): ArrowMessage {
  checkMessage(metadata);
  const message = Message.decode(metadata);
  const body = message.bodyLength;
  if (!(body >= 0)) throw new Damage(`a body of ${body} bytes`);
  if (message.version < 3) throw new Damage('written by a version of Arrow before 0.8, which is not read');
  if (message.isSchema()) return { kind: 'schema', body, schema: message.header() };
  if (message.isRecordBatch()) {
    const header = message.header();
    return { kind: 'batch', body, header: checked(header, body) };
  }
  if (message.isDictionaryBatch()) {
    const { id, isDelta: delta, data } = message.header();
    return { kind: 'dictionary', body, id, delta, header: checked(data, body) };
  }
  throw new Damage('a message that is no schema, record batch or dictionary');
}

/** A row takes at least a bit of the body; columns that are empty or constant are why a few more are taken. */
function checked(header: BatchHeader, body: number): BatchHeader {
  const most = 2 ** 16 + (header.compression ? 2 ** 10 : 8) * body;
  if (!(header.length >= 0 && header.length <= most))
    throw new Damage(`a record batch of ${body} bytes claims to hold ${header.length} rows`);
  return header;
}

/** The schema as the footer of a file has it. */
export function footerSchema(footer: Uint8Array): Schema {
  checkFooter(footer);
  return Footer.decode(footer).schema;
}
