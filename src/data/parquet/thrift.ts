// Thrift's compact protocol, as much as Parquet's headers need: read with every length checked, so that what trusts them can read the same bytes
// after; and written again, for pages that were unpacked.

import { Damage } from '../arrow/damage.js';

/** Integers, booleans and structs by their field's number; lists and bytes are passed over. */
export type Struct = ReadonlyMap<number, number | boolean | Struct>;

const kinds = {
  true: 1,
  false: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  struct: 12,
} as const;
const deepest = 32;

export class CompactReader {
  constructor(
    private readonly bytes: Uint8Array,
    public at: number,
  ) {}

  struct(depth = 0): Struct {
    if (depth > deepest) throw new Damage('its headers are nested too deeply');
    const fields = new Map<number, number | boolean | Struct>();
    for (let id = 0; ; ) {
      const byte = this.#byte();
      if ((byte & 15) === 0) return fields;
      id = byte >> 4 === 0 ? zigzag(this.#varint()) : id + (byte >> 4);
      const value = this.#value(byte & 15, depth);
      if (value !== undefined) fields.set(id, value);
    }
  }

  #value(kind: number, depth: number): number | boolean | Struct | undefined {
    switch (kind) {
      case kinds.true:
        return true;
      case kinds.false:
        return false;
      case kinds.byte:
        return this.#byte();
      case kinds.i16:
      case kinds.i32:
      case kinds.i64:
        return zigzag(this.#varint());
      case kinds.double:
        return this.#skip(8);
      case kinds.binary:
        return this.#skip(this.#varint());
      case kinds.list: {
        const head = this.#byte();
        const count = head >> 4 === 15 ? this.#varint() : head >> 4;
        if (count > this.bytes.length - this.at) throw new Damage(`its headers claim a list of ${count}`);
        const bits = (head & 15) === kinds.true || (head & 15) === kinds.false;
        for (let index = 0; index < count; ++index) this.#value(bits ? kinds.byte : head & 15, depth + 1);
        return undefined;
      }
      case kinds.struct:
        return this.struct(depth + 1);
      default:
        throw new Damage('its headers hold a value of no known kind');
    }
  }

  #skip(count: number): undefined {
    if (!(count <= this.bytes.length - this.at)) throw new Damage('its headers end in the middle');
    this.at += count;
  }

  #byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new Damage('its headers end in the middle');
    return byte;
  }

  /** At most 10 bytes; beyond 2^53 a double's next value, which no count that is used comes near to. */
  #varint(): number {
    let value = 0;
    for (let place = 0; place < 10; ++place) {
      const byte = this.#byte();
      value += (byte & 127) * 2 ** (7 * place);
      if (byte < 128) return value;
    }
    throw new Damage('its headers hold a number without an end');
  }
}

const zigzag = (value: number) => (value % 2 === 0 ? value / 2 : -(value + 1) / 2);

/** Fields in the order of their numbers. */
export function writeStruct(
  fields: readonly (readonly [number, number | boolean | readonly (readonly [number, number])[]])[],
): number[] {
  const bytes: number[] = [];
  let before = 0;
  for (const [id, value] of fields) {
    const kind =
      typeof value === 'number'
        ? kinds.i32
        : value === true
          ? kinds.true
          : value === false
            ? kinds.false
            : kinds.struct;
    bytes.push(((id - before) << 4) | kind);
    before = id;
    if (typeof value === 'number') bytes.push(...varint(value * 2));
    else if (typeof value !== 'boolean') bytes.push(...writeStruct(value));
  }
  return [...bytes, 0];
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}
