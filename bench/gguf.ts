// A GGUF file (version 3) from metadata and fp32 tensors: header, then data at multiples of 32 bytes.

export type GgufValue =
  | { type: 'u32' | 'f32'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'string'; value: string }
  | { type: 'strings'; value: readonly string[] }
  | { type: 'floats' | 'ints'; value: readonly number[] };

export interface GgufTensor {
  name: string;
  /** As in PyTorch: rows first. */
  shape: readonly number[];
  data: Float32Array;
}

const ALIGNMENT = 32;
const VERSION = 3;
const code = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

/** The pieces of the file, in order. */
export function ggufFile(
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): readonly Uint8Array[] {
  const head: Buffer[] = [Buffer.from('GGUF'), u32(VERSION), u64(tensors.length), u64(Object.keys(metadata).length)];
  for (const [key, value] of Object.entries(metadata)) head.push(text(key), ...encoded(value));
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    if (shape.reduce((a, b) => a * b, 1) !== data.length) throw new RangeError(`${name}: ${shape} of ${data.length}`);
    // Dimensions from the innermost; type 0 is fp32.
    head.push(text(name), u32(shape.length), ...shape.toReversed().map(u64), u32(0), u64(offset));
    offset += data.byteLength + padding(data.byteLength);
  }
  const header = Buffer.concat(head);
  const pieces: Uint8Array[] = [header, new Uint8Array(padding(header.length))];
  for (const { data } of tensors) {
    pieces.push(
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      new Uint8Array(padding(data.byteLength)),
    );
  }
  return pieces;
}

function padding(length: number): number {
  return (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
}

function encoded(item: GgufValue): Buffer[] {
  switch (item.type) {
    case 'u32':
      return [u32(code.u32), u32(item.value)];
    case 'f32':
      return [u32(code.f32), f32(item.value)];
    case 'bool':
      return [u32(code.bool), Buffer.from([item.value ? 1 : 0])];
    case 'string':
      return [u32(code.string), text(item.value)];
    case 'strings':
      return [u32(code.array), u32(code.string), u64(item.value.length), ...item.value.map(text)];
    case 'floats':
      return [u32(code.array), u32(code.f32), u64(item.value.length), ...item.value.map(f32)];
    case 'ints':
      return [u32(code.array), u32(code.i32), u64(item.value.length), ...item.value.map(u32)];
  }
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function f32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
}
