// Counter-based random numbers, Philox 4x32-10 (Salmon et al. 2011), as native/base/philox.h has them: a value depends on its key and counter
// alone, so there is no generator state that a resume could lose.

/** What a number is for; part of the counter, so that no two uses share a stream. Native's purposes are below 100. */
const purposes = {
  chunks: 101,
  reach: 102,
  batches: 103,
  online: 104,
  round: 105,
  held_out: 106,
  rows: 107,
  windows: 108,
} as const;
export type Purpose = keyof typeof purposes;

type Words = readonly [number, number, number, number];

export function philox4x32(counter: Words, key: readonly [number, number]): Words {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; ++round) {
    const [aHigh, aLow] = multiply(0xd2511f53, c0);
    const [bHigh, bLow] = multiply(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(bHigh ^ c1 ^ k0) >>> 0, bLow, (aHigh ^ c3 ^ k1) >>> 0, aLow];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The 64 bits of a product of two unsigned 32-bit numbers: high and low word. */
function multiply(a: number, b: number): [number, number] {
  const [aHigh, aLow, bHigh, bLow] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16); // below 2^48
  const other = aLow * bHigh + (middle % 0x10000);
  return [(aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(other / 0x10000)) >>> 0, Math.imul(a, b) >>> 0];
}

/**
 * Four words for (seed, purpose, stream, counter). The stream's numbers are folded into the key one after the other, so streams of any
 * length are apart from each other.
 */
export function randomWords(seed: number, purpose: Purpose, stream: readonly number[], counter = 0): Words {
  let key: readonly [number, number] = split(seed);
  for (const [place, part] of stream.entries()) {
    const [low, high] = split(part);
    const [a, b] = philox4x32([low, high, place, purposes[purpose]], key);
    key = [a, b];
  }
  const [low, high] = split(counter);
  return philox4x32([low, high, stream.length, (purposes[purpose] | 0x80000000) >>> 0], key);
}

/** Uniform in [0, 1), 53 bits. */
export function randomUnit(seed: number, purpose: Purpose, stream: readonly number[], counter = 0): number {
  const [high, low] = randomWords(seed, purpose, stream, counter);
  return (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
}

/** A seed of its own for a part of a run: 53 bits. */
export function seedFor(seed: number, purpose: Purpose, ...stream: readonly number[]): number {
  const [high, low] = randomWords(seed, purpose, stream);
  return high * 2 ** 21 + (low >>> 11);
}

function split(value: number): [number, number] {
  return [value >>> 0, Math.floor(value / 2 ** 32) >>> 0];
}
