// The order in which rows are taken: a permutation that its key determines, so that it can be entered again at any place.

import { type Purpose, randomUnit } from '../common/philox.js';

export interface PermutationKey {
  seed: number;
  purpose: Purpose;
  /** Round, epoch, …: each has an order of its own. */
  stream: readonly number[];
  length: number;
}

/** Fisher–Yates over 0 … length − 1. */
export function permutation({ seed, purpose, stream, length }: PermutationKey): Uint32Array {
  const order = Uint32Array.from({ length }, (_, place) => place);
  for (let place = length - 1; place > 0; --place) {
    const other = Math.floor(randomUnit(seed, purpose, stream, place) * (place + 1));
    const kept = order[place] ?? 0;
    order[place] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}
