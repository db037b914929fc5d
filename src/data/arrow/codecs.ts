// Compressed buffers of Arrow bodies: LZ4 frames and Zstandard. The size that a buffer claims is held against what its bytes can give before
// anything is allocated, and what comes out must have that size.

import { CompressionType } from 'apache-arrow';
import { decompress as unzstd } from 'fzstd';
import { decompressFrame } from 'lz4js';
import { Damage } from './damage.js';

/** What `bytes` hold, which must be `size` bytes. */
export function decompress(type: CompressionType, bytes: Uint8Array, size: number): Uint8Array {
  switch (type) {
    case CompressionType.LZ4_FRAME:
      return lz4(bytes, size);
    case CompressionType.ZSTD:
      return zstd(bytes, size);
    default:
      throw new Damage('compressed in a way that is not LZ4 or Zstandard');
  }
}

/** LZ4 gives at most 255 bytes for one. The blocks' sizes are added up first, since the decoder believes them. */
function lz4(bytes: Uint8Array, size: number): Uint8Array {
  checkLz4Frame(bytes);
  if (size > 255 * bytes.length) throw claims(size, bytes);
  const whole = new Uint8Array(size);
  if (decompressFrame(bytes, whole) !== size)
    throw new Damage(`an LZ4 buffer does not hold the ${size} bytes it claims`);
  return whole;
}

function checkLz4Frame(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cut = () => new Damage('an LZ4 buffer whose blocks do not end where it ends');
  if (bytes.length < 11 || view.getUint32(0, true) !== 0x184d2204)
    throw new Damage('an LZ4 buffer that is no LZ4 frame');
  const flags = view.getUint8(4);
  if ((flags & 1) !== 0) throw new Damage('an LZ4 buffer that needs a dictionary');
  const checksums = { block: (flags & 0x10) === 0 ? 0 : 4, content: (flags & 0x04) === 0 ? 0 : 4 };
  let at = 7 + ((flags & 0x08) === 0 ? 0 : 8);
  for (;;) {
    if (at + 4 > bytes.length) throw cut();
    const block = view.getUint32(at, true) & 0x7fffffff;
    at += 4;
    if (block === 0) break;
    at += block + checksums.block;
  }
  if (at + checksums.content !== bytes.length) throw cut();
}

/** One frame. What its blocks can give is added up first. */
function zstd(bytes: Uint8Array, size: number): Uint8Array {
  const most = zstdCapacity(bytes);
  if (most.told !== undefined ? most.told !== size || size > most.blocks : size > most.blocks)
    throw claims(size, bytes);
  const whole = unzstd(bytes, new Uint8Array(size));
  return whole.byteOffset % 8 === 0 ? whole : whole.slice();
}

const zstdBlock = 2 ** 17;

/** Bytes in the frame as its header tells them, and the most that its blocks can give. */
function zstdCapacity(bytes: Uint8Array): { told: number | undefined; blocks: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const cut = () => new Damage('a Zstandard buffer whose blocks do not end where it ends');
  if (bytes.length < 9 || view.getUint32(0, true) !== 0xfd2fb528)
    throw new Damage('a Zstandard buffer that is no Zstandard frame');
  const flags = view.getUint8(4);
  const single = (flags & 0x20) !== 0;
  const width = [single ? 1 : 0, 2, 4, 8][flags >> 6] ?? 0;
  let at = 5 + (single ? 0 : 1) + ([0, 1, 2, 4][flags & 3] ?? 0);
  if (at + width > bytes.length) throw cut();
  const told = readSize(view, at, width);
  at += width;
  let blocks = 0;
  for (let last = false; !last; ) {
    if (at + 3 > bytes.length) throw cut();
    const head = view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
    const [kind, size] = [(head >> 1) & 3, head >> 3];
    if (kind === 3 || size > zstdBlock) throw new Damage('a Zstandard buffer with a block of no known kind');
    last = (head & 1) === 1;
    blocks += kind === 2 ? zstdBlock : size;
    at += 3 + (kind === 1 ? 1 : size);
  }
  if (at + ((flags & 4) === 0 ? 0 : 4) !== bytes.length) throw cut();
  return { told, blocks };
}

function readSize(view: DataView, at: number, width: number): number | undefined {
  if (width === 1) return view.getUint8(at);
  if (width === 2) return view.getUint16(at, true) + 256;
  if (width === 4) return view.getUint32(at, true);
  return width === 8 ? Number(view.getBigUint64(at, true)) : undefined;
}

const claims = (size: number, bytes: Uint8Array) =>
  new Damage(`a buffer of ${bytes.length} compressed bytes claims to be ${size} bytes`);
