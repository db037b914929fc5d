// Parquet's hybrid of run lengths and packed bits, gone through before it is decoded: the decoder believes the lengths of its runs.

import { Damage } from '../arrow/damage.js';

/** Calls `visit` for each value (runs at once) of `count` in bytes[at, end); gives where they end. */
export function checkRuns(
  bytes: Uint8Array,
  [begin, end]: readonly [number, number],
  width: number,
  count: number,
  visit: (value: number, times: number) => void,
): void {
  let at = begin;
  const next = (): number => {
    if (at >= end) throw new Damage('a page whose runs end too early');
    return bytes[at++] ?? 0;
  };
  for (let seen = 0; seen < count; ) {
    let head = 0;
    for (let place = 0, more = true; more; ++place) {
      if (place > 4) throw new Damage('a page with a run of no length');
      const byte = next();
      head += (byte & 127) * 2 ** (7 * place);
      more = byte > 127;
    }
    const left = count - seen;
    const length = Math.floor(head / 2);
    if (head % 2 === 0) {
      if (length > left) throw new Damage(`a page with a run of ${length} where ${left} values are left`);
      let value = 0;
      for (let place = 0; place < Math.ceil(width / 8); ++place) value += next() * 2 ** (8 * place);
      if (length > 0) visit(value, length);
      seen += length;
    } else {
      if (8 * length >= left + 8 || at + length * width > end)
        throw new Damage(`a page with ${8 * length} packed values where ${left} are left`);
      unpack(bytes, at, width, Math.min(8 * length, left), visit);
      at += length * width;
      seen += 8 * length;
    }
  }
}

function unpack(
  bytes: Uint8Array,
  begin: number,
  width: number,
  count: number,
  visit: (value: number, times: number) => void,
): void {
  const size = 2 ** width;
  let at = begin;
  let held = 0;
  let bits = 0;
  for (let index = 0; index < count; ++index) {
    for (; bits < width; bits += 8) held += (bytes[at++] ?? 0) * 2 ** bits;
    visit(held % size, 1);
    held = Math.floor(held / size);
    bits -= width;
  }
}

/** The head of a block of deltas: what the decoder allocates by it. Each value then takes its bits from the page, or the page ends. */
export function checkDeltas(bytes: Uint8Array, begin: number, count: number): void {
  let at = begin;
  const varint = (): number => {
    let value = 0;
    for (let place = 0; place < 10; ++place) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value += (byte & 127) * 2 ** (7 * place);
      if (byte < 128) return value;
    }
    throw new Damage('a page of deltas that is cut');
  };
  const [block, parts, total] = [varint(), varint(), varint()];
  if (
    !(
      block >= 128 &&
      block <= 2 ** 16 &&
      block % 128 === 0 &&
      parts >= 1 &&
      (block / parts) % 32 === 0 &&
      total >= count
    )
  )
    throw new Damage(`a page of deltas in blocks of ${block} values, ${parts} parts`);
}
