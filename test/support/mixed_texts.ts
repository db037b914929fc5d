// Mixed texts from a seed: the same texts as test/golden/make/text_generator.py, which has this algorithm in Python.

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { goldenFolder } from '../golden/golden.js';

/** First and last code point of the scripts that words are made of. */
const scripts: readonly [first: number, last: number][] = [
  [0x61, 0x7a],
  [0x41, 0x5a],
  [0xc0, 0x17f],
  [0x391, 0x3c9],
  [0x410, 0x44f],
  [0x5d0, 0x5ea],
  [0x620, 0x64a],
  [0x905, 0x94d],
  [0xe01, 0xe4e],
  [0x3041, 0x30fe],
  [0x4e00, 0x9fa5],
  [0xac00, 0xd7a3],
];
const spaces = ' \t\n\r\v\f\u00a0\u0085\u2003\u2028\u3000\ufeff\u200b';

/** xorshift32 (Marsaglia 2003). */
export class Xorshift32 {
  constructor(private state: number) {}

  below(limit: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % limit;
  }
}

function part(random: Xorshift32, fragments: readonly (readonly string[])[]): string {
  const times = (count: number, make: () => string) => Array.from({ length: count }, make).join('');
  const fragment = (): string => {
    const group = fragments[random.below(fragments.length)] ?? [];
    return group[random.below(group.length)] ?? '';
  };
  const kind = random.below(16);
  if (kind < 7) return fragment();
  if (kind < 10) {
    const [first, last] = scripts[random.below(scripts.length)] ?? [0, 0];
    const word = times(1 + random.below(12), () => String.fromCodePoint(first + random.below(last - first + 1)));
    return random.below(2) > 0 ? ` ${word}` : word;
  }
  if (kind === 10) {
    const space = spaces.charAt(random.below(spaces.length));
    return space.repeat(1 + random.below(6));
  }
  // Any code unit, halves of surrogate pairs too.
  if (kind === 11) return times(1 + random.below(4), () => String.fromCharCode(random.below(0x10000)));
  // Beyond the basic plane, assigned or not.
  if (kind === 12) return String.fromCodePoint(0x10000 + random.below(0x100000));
  if (kind === 13) return String(random.below(10 ** (1 + random.below(9))));
  if (kind === 14) {
    const letter = String.fromCharCode(0x61 + random.below(26));
    return letter + times(1 + random.below(5), () => String.fromCharCode(0x300 + random.below(0x70)));
  }
  if (random.below(24) > 0) return String.fromCharCode(random.below(0x20));
  const long = fragment();
  return long.repeat(40 + random.below(200));
}

export function mixedTexts(seed: number, count: number): string[] {
  const fragments = z
    .array(z.array(z.string()))
    .parse(JSON.parse(readFileSync(`${goldenFolder}text_fragments.json`, 'utf8')));
  const random = new Xorshift32(seed);
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + random.below(14) }, () => part(random, fragments)).join(''),
  );
}
