// A small seeded generator (sfc32), so that every text of this example is the same on every machine.

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** Streams of different names are unrelated, under one seed too. */
  constructor(seed: number, name: string) {
    let hash = 2166136261 ^ seed;
    for (const char of `${seed}/${name}`) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619);
    [this.#a, this.#b, this.#c] = [hash, hash ^ 0x9e3779b9, seed];
    for (let i = 0; i < 16; ++i) this.unit();
  }

  /** Uniform in [0, 1). */
  unit(): number {
    const sum = (this.#a + this.#b + this.#counter++) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  }

  /** A whole number from low to high, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.int(0, items.length - 1)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  /** `count` different items, in random order. */
  sample<Item>(items: readonly Item[], count: number): Item[] {
    const left = [...items];
    return Array.from({ length: Math.min(count, left.length) }, () => {
      const [item] = left.splice(this.int(0, left.length - 1), 1);
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    });
  }

  /** One key, as often as its weight says. */
  weighted<Key extends string>(weights: Readonly<Record<Key, number>>): Key {
    const keys = Object.keys(weights) as Key[]; // a record's own keys
    let left = this.unit() * keys.reduce((sum, key) => sum + weights[key], 0);
    for (const key of keys) {
      left -= weights[key];
      if (left < 0) return key;
    }
    return this.pick(keys);
  }
}
