// Damage to bytes: flipped bits, cuts, blocks in the wrong place, huge numbers, foreign bytes.

import fc from 'fast-check';

export type Change =
  | { kind: 'flip'; at: number; bit: number }
  | { kind: 'cut'; at: number }
  | { kind: 'copy'; at: number; to: number; length: number }
  | { kind: 'insert'; at: number; bytes: Uint8Array }
  | { kind: 'zero'; at: number; length: number }
  | { kind: 'number'; at: number; value: bigint; width: 4 | 8 };

/** Anywhere alike: fast-check’s numbers are mostly near 0, which would damage the first byte alone. */
export const place = fc.noBias(fc.nat(2 ** 30 - 1)).map((number) => number / 2 ** 30);
const huge = [
  -1n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 40n,
  2n ** 62n,
  -(2n ** 63n),
  0n,
  1n,
  2n ** 24n,
  65535n,
];
export const change: fc.Arbitrary<Change> = fc.oneof(
  { arbitrary: fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.nat(7) }), weight: 4 },
  fc.record({ kind: fc.constant('cut' as const), at: place }),
  fc.record({ kind: fc.constant('copy' as const), at: place, to: place, length: fc.nat(300) }),
  fc.record({ kind: fc.constant('insert' as const), at: place, bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
  fc.record({ kind: fc.constant('zero' as const), at: place, length: fc.nat(64) }),
  {
    arbitrary: fc.record({
      kind: fc.constant('number' as const),
      at: place,
      value: fc.constantFrom(...huge),
      width: fc.constantFrom(4 as const, 8 as const),
    }),
    weight: 3,
  },
);

export function changed(bytes: Buffer, change: Change): Buffer {
  const at = Math.floor(change.at * bytes.length);
  switch (change.kind) {
    case 'flip': {
      const copy = Buffer.from(bytes);
      if (copy.length > 0) copy[at] = (copy[at] ?? 0) ^ (1 << change.bit);
      return copy;
    }
    case 'cut':
      return bytes.subarray(0, at);
    case 'copy': {
      const to = Math.floor(change.to * bytes.length);
      return Buffer.concat([bytes.subarray(0, to), bytes.subarray(at, at + change.length), bytes.subarray(to)]);
    }
    case 'insert':
      return Buffer.concat([bytes.subarray(0, at), change.bytes, bytes.subarray(at)]);
    case 'zero':
      return Buffer.from(bytes).fill(0, at, Math.min(bytes.length, at + change.length));
    case 'number': {
      const copy = Buffer.from(bytes);
      const begin = at & ~3;
      if (begin + change.width > copy.length) return copy;
      if (change.width === 8) copy.writeBigInt64LE(BigInt.asIntN(64, change.value), begin);
      else copy.writeInt32LE(Number(BigInt.asIntN(32, change.value)), begin);
      return copy;
    }
    default:
      return change satisfies never;
  }
}
