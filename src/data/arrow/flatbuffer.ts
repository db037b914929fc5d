// The lengths and offsets inside of an Arrow message's metadata (a flatbuffer), checked before apache-arrow follows them: every table, vector
// and string lies inside of the bytes, and no chain of references is longer than the bytes warrant. Layout: format/Message.fbs, Schema.fbs.

import { Damage } from './damage.js';

/** What a table's slot refers to; a slot that holds a plain number needs no check. */
type Reference =
  | { kind: 'table'; shape: () => Shape }
  | { kind: 'string' }
  | { kind: 'numbers'; size: number }
  | { kind: 'tables'; shape: () => Shape }
  /** A table whose shape the byte in the slot before tells. */
  | { kind: 'union'; shapes: Readonly<Record<number, Shape>>; other?: Shape };
type Shape = Readonly<Record<number, Reference>>;

const text: Reference = { kind: 'string' };
const plain: Shape = {};
const keyValue: Shape = { 0: text, 1: text };
const metadata: Reference = { kind: 'tables', shape: () => keyValue };
const dictionary: Shape = { 1: { kind: 'table', shape: () => plain } };
const types = { 10: { 1: text }, 14: { 1: { kind: 'numbers', size: 4 } } } as const satisfies Record<number, Shape>;
const field: Shape = {
  0: text,
  3: { kind: 'union', shapes: types, other: plain },
  4: { kind: 'table', shape: () => dictionary },
  5: { kind: 'tables', shape: () => field },
  6: metadata,
};
const schema: Shape = { 1: { kind: 'tables', shape: () => field }, 2: metadata, 3: { kind: 'numbers', size: 8 } };
const recordBatch: Shape = {
  1: { kind: 'numbers', size: 16 },
  2: { kind: 'numbers', size: 16 },
  3: { kind: 'table', shape: () => plain },
  4: { kind: 'numbers', size: 8 },
};
const dictionaryBatch: Shape = { 1: { kind: 'table', shape: () => recordBatch } };
const message: Shape = { 2: { kind: 'union', shapes: { 1: schema, 2: dictionaryBatch, 3: recordBatch } }, 4: metadata };

const blocks: Reference = { kind: 'numbers', size: 24 };
const footer: Shape = { 1: { kind: 'table', shape: () => schema }, 2: blocks, 3: blocks, 4: metadata };

const deepest = 64;

/** Throws Damage where a message's metadata refers to what it does not hold. */
export function checkMessage(bytes: Uint8Array): void {
  new Checker(bytes).start(message);
}

/** The same of the footer that ends an Arrow file. */
export function checkFooter(bytes: Uint8Array): void {
  new Checker(bytes).start(footer);
}

class Checker {
  readonly #view: DataView;
  /** Tables that may still be visited: a few bytes must not stand for many (shared references). */
  #left: number;

  constructor(private readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#left = bytes.length;
  }

  start(shape: Shape): void {
    this.#table(this.#follow(0), shape, 0);
  }

  #table(at: number, shape: Shape, depth: number): void {
    if (--this.#left < 0 || depth > deepest) throw new Damage('its metadata is nested too deeply');
    const slots = at - this.#inside(at, 4).getInt32(at, true);
    const slotsSize = this.#inside(slots, 4).getUint16(slots, true);
    const size = this.#view.getUint16(slots + 2, true);
    this.#inside(slots, slotsSize);
    this.#inside(at, size);
    if (slotsSize < 4 || slotsSize % 2 !== 0) throw wrong();
    const place = (slot: number): number | undefined => {
      if (4 + 2 * slot + 2 > slotsSize) return undefined;
      const offset = this.#view.getUint16(slots + 4 + 2 * slot, true);
      if (offset >= Math.max(size, 1)) throw wrong();
      return offset === 0 ? undefined : at + offset;
    };
    for (const [slot, reference] of Object.entries(shape)) {
      const from = place(Number(slot));
      if (from === undefined) continue;
      if (reference.kind === 'union') {
        const tag = place(Number(slot) - 1);
        const kind = tag === undefined ? 0 : this.#inside(tag, 1).getUint8(tag);
        const inner = reference.shapes[kind] ?? reference.other;
        if (inner !== undefined) this.#table(this.#follow(from), inner, depth + 1);
      } else this.#reference(from, reference, depth);
    }
  }

  #reference(from: number, reference: Exclude<Reference, { kind: 'union' }>, depth: number): void {
    const at = this.#follow(from);
    switch (reference.kind) {
      case 'table':
        this.#table(at, reference.shape(), depth + 1);
        return;
      case 'string':
        this.#vector(at, 1);
        return;
      case 'numbers':
        this.#vector(at, reference.size);
        return;
      case 'tables': {
        const count = this.#vector(at, 4);
        for (let index = 0; index < count; ++index)
          this.#table(this.#follow(at + 4 + 4 * index), reference.shape(), depth + 1);
        return;
      }
      default:
        reference satisfies never;
    }
  }

  #vector(at: number, size: number): number {
    const count = this.#inside(at, 4).getUint32(at, true);
    this.#inside(at + 4, count * size);
    return count;
  }

  #follow(from: number): number {
    return from + this.#inside(from, 4).getUint32(from, true);
  }

  #inside(at: number, size: number): DataView {
    if (at < 0 || at + size > this.bytes.length) throw wrong();
    return this.#view;
  }
}

const wrong = () => new Damage('its metadata refers to what lies outside of it');
