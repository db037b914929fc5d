// Safetensors headers, read and written. A header is 8 bytes of length, then JSON {name: {dtype, shape, data_offsets}}, then the data.
// Everything in it is checked before use: lengths before memory is taken, offsets against the file, tensors against each other.

import { type FileHandle, open } from 'node:fs/promises';
import { z } from 'zod';
import { clip, modelError, parseJsonObject, show } from './json.js';

export interface TensorEntry {
  name: string;
  dtype: string;
  shape: number[];
  /** Of its first byte, from the start of the file. */
  offset: number;
  bytes: number;
}

export interface SafetensorsFile {
  path: string;
  file_bytes: number;
  tensors: ReadonlyMap<string, TensorEntry>;
  metadata: ReadonlyMap<string, string>;
}

const LENGTH_BYTES = 8;
const MAX_HEADER_BYTES = 100_000_000; // the limit of the safetensors library
const ALIGNMENT = 8;

const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
  ['BOOL', 8],
  ['U8', 8],
  ['I8', 8],
  ['F8_E4M3', 8],
  ['F8_E5M2', 8],
  ['I16', 16],
  ['U16', 16],
  ['F16', 16],
  ['BF16', 16],
  ['I32', 32],
  ['U32', 32],
  ['F32', 32],
  ['I64', 64],
  ['U64', 64],
  ['F64', 64],
]);

const count = z.int().min(0);
const entrySchema = z.strictObject({
  dtype: z.string(),
  shape: z.array(count).max(8),
  data_offsets: z.tuple([count, count]),
});

export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    throw modelError(
      `${path}: cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      undefined,
      cause,
    );
  }
  try {
    const info = await file.stat();
    if (!info.isFile()) throw modelError(`${path}: not a regular file`);
    const length = headerLength(await readBytes(file, 0, Math.min(LENGTH_BYTES, info.size), path), info.size, path);
    const header = await readBytes(file, LENGTH_BYTES, length, path);
    return { path, file_bytes: info.size, ...parseHeader(header, info.size, path) };
  } finally {
    await file.close();
  }
}

async function readBytes(file: FileHandle, position: number, length: number, path: string): Promise<Uint8Array> {
  const bytes = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) throw modelError(`${path}: the file became shorter while it was read`);
    done += bytesRead;
  }
  return bytes;
}

function headerLength(bytes: Uint8Array, fileBytes: number, path: string): number {
  if (bytes.length < LENGTH_BYTES) throw modelError(`${path}: ${fileBytes} bytes are too few for a safetensors file`);
  const length = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).getBigUint64(0, true);
  if (length > BigInt(fileBytes - LENGTH_BYTES)) {
    throw modelError(
      `${path}: the header says ${length} bytes, the file has ${fileBytes}`,
      'Cut short, or not a safetensors file.',
    );
  }
  if (length > BigInt(MAX_HEADER_BYTES))
    throw modelError(`${path}: a header of ${length} bytes; at most ${MAX_HEADER_BYTES} are allowed`);
  return Number(length);
}

/** `header` is the JSON after the length; `fileBytes` the size of the whole file. */
export function parseHeader(
  header: Uint8Array,
  fileBytes: number,
  path: string,
): Pick<SafetensorsFile, 'tensors' | 'metadata'> {
  const { values } = parseJsonObject(header, path);
  const start = LENGTH_BYTES + header.length;
  const tensors = new Map<string, TensorEntry>();
  const metadata = new Map<string, string>();
  for (const [name, value] of Object.entries(values)) {
    if (name === '__metadata__') {
      const parsed = z.record(z.string(), z.string()).safeParse(value);
      if (!parsed.success) throw modelError(`${path}: __metadata__ must map names to text, found ${show(value)}`);
      for (const [key, text] of Object.entries(parsed.data)) metadata.set(key, text);
    } else {
      tensors.set(name, parseEntry(name, value, start, fileBytes, path));
    }
  }
  checkTiling([...tensors.values()], start, fileBytes, path);
  return { tensors, metadata };
}

function parseEntry(name: string, value: unknown, start: number, fileBytes: number, path: string): TensorEntry {
  const where = `${path}: tensor ${clip(name)}`;
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw modelError(
      `${where}: ${issue?.path.join('.') || 'its entry'} is not valid: ${issue?.message ?? show(value)}`,
    );
  }
  const { dtype, shape, data_offsets } = parsed.data;
  const bits = DTYPE_BITS.get(dtype);
  if (bits === undefined) throw modelError(`${where}: unknown dtype ${show(dtype)}`);
  const [begin, end] = data_offsets;
  if (begin > end) throw modelError(`${where}: data_offsets ${show(data_offsets)} run backwards`);
  if (start + end > fileBytes) {
    throw modelError(
      `${where}: ends at byte ${start + end}, the file at ${fileBytes}`,
      'The file was cut short; copy or download it again.',
    );
  }
  const bytes = (shape.reduce((product, size) => product * size, 1) * bits) / 8;
  if (bytes !== end - begin) {
    throw modelError(
      `${where}: shape ${show(shape)} of ${dtype} takes ${bytes} bytes, data_offsets hold ${end - begin}`,
    );
  }
  return { name, dtype, shape, offset: start + begin, bytes };
}

/** The tensors must cover the data exactly, whatever the order of their names. */
function checkTiling(tensors: TensorEntry[], start: number, fileBytes: number, path: string): void {
  let next = start;
  let previous = 'the header';
  for (const tensor of tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset < next) throw modelError(`${path}: tensor ${clip(tensor.name)} overlaps ${clip(previous)}`);
    if (tensor.offset > next) {
      throw modelError(
        `${path}: ${tensor.offset - next} bytes between ${clip(previous)} and tensor ${clip(tensor.name)} belong to nothing`,
      );
    }
    next += tensor.bytes;
    previous = `tensor ${tensor.name}`;
  }
  if (next !== fileBytes)
    throw modelError(`${path}: ${fileBytes - next} bytes after ${clip(previous)} belong to nothing`);
}

/** The bytes before the data of a file with these tensors in this order: length, JSON, and spaces that align the data to 8. */
export function writeHeader(
  tensors: readonly { name: string; dtype: string; shape: number[] }[],
  metadata: Readonly<Record<string, string>> = {},
): { header: Uint8Array; data_bytes: number } {
  const entries: [string, unknown][] = [['__metadata__', { ...metadata, format: 'pt' }]];
  let offset = 0;
  for (const { name, dtype, shape } of tensors) {
    const bits = DTYPE_BITS.get(dtype) ?? 0;
    const end = offset + (shape.reduce((product, size) => product * size, 1) * bits) / 8;
    entries.push([name, { dtype, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const length = Math.ceil(json.length / ALIGNMENT) * ALIGNMENT;
  const header = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true);
  header.set(json, LENGTH_BYTES);
  return { header, data_bytes: offset };
}
