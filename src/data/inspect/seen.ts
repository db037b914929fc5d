// Which texts were seen before, by 64 bits of their SHA-256: 12 bytes a row and nothing of the rows themselves. Among a million rows two
// different ones are taken for the same with probability 3e-8.

import { createHash } from 'node:crypto';

export function hash64(...parts: readonly (string | Uint8Array)[]): readonly [high: number, low: number] {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  const digest = hash.digest();
  // (0, 0) stands for a free place.
  return [digest.readUInt32LE(0) || 1, digest.readUInt32LE(4)];
}

/** Of ids: as bytes. */
export function bytesOf(ids: ArrayLike<number>): Uint8Array {
  return new Uint8Array(Int32Array.from(ids).buffer);
}

/** The first row of each hash; open addressing, at most half full. */
export class FirstRows {
  #size = 0;
  #high = new Uint32Array(1024);
  #low = new Uint32Array(1024);
  #row = new Uint32Array(1024);

  /** The row that came first with this hash; undefined: this one, which is noted. */
  add(hash: readonly [number, number], row: number): number | undefined {
    const place = this.#place(hash);
    if (this.#high[place] !== 0) return this.#row[place];
    this.#put(place, hash, row);
    if (++this.#size * 2 > this.#high.length) this.#grow();
    return undefined;
  }

  get(hash: readonly [number, number]): number | undefined {
    const place = this.#place(hash);
    return this.#high[place] === 0 ? undefined : this.#row[place];
  }

  #place([high, low]: readonly [number, number]): number {
    const mask = this.#high.length - 1;
    let place = low & mask;
    while (this.#high[place] !== 0 && !(this.#high[place] === high && this.#low[place] === low))
      place = (place + 1) & mask;
    return place;
  }

  #put(place: number, [high, low]: readonly [number, number], row: number): void {
    this.#high[place] = high;
    this.#low[place] = low;
    this.#row[place] = row;
  }

  #grow(): void {
    const [high, low, rows] = [this.#high, this.#low, this.#row];
    const length = 2 * high.length;
    this.#high = new Uint32Array(length);
    this.#low = new Uint32Array(length);
    this.#row = new Uint32Array(length);
    for (const [old, top] of high.entries()) {
      if (top === 0) continue;
      const hash = [top, low[old] ?? 0] as const;
      this.#put(this.#place(hash), hash, rows[old] ?? 0);
    }
  }
}
