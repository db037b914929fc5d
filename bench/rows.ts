// Rows of random ids. A round's rows depend on the case's seed and the round alone, so each run of the bench sees the same.

import { philox4x32 } from '../src/common/philox.js';

const WORD = 2 ** 32;

/** Numbers of one stream, drawn in order. */
export class Numbers {
  #count = 0;
  constructor(
    readonly seed: number,
    readonly stream: number,
  ) {}

  /** In (0, 1). */
  unit(): number {
    const [word] = philox4x32([this.#count++, this.stream, 0, 0], [this.seed, 0]);
    return (word + 0.5) / WORD;
  }

  normal(): number {
    return Math.sqrt(-2 * Math.log(this.unit())) * Math.cos(2 * Math.PI * this.unit());
  }

  /** Ids from 3 on: below are what tokenizers keep for themselves. */
  ids(count: number, vocab: number): number[] {
    return Array.from({ length: count }, () => 3 + Math.floor(this.unit() * (vocab - 3)));
  }

  /** Lengths of answers: lognormal around 90, cut to 32–255. */
  answerLength(): number {
    return Math.floor(Math.min(255, Math.max(32, Math.exp(Math.log(90) + 0.6 * this.normal()))));
  }
}

/** A round's rows, of those that were made before the clock runs. */
export function ofRound<Rows>(made: readonly Rows[], round: number): Rows {
  const rows = made[round];
  if (rows === undefined) throw new RangeError(`round ${round} of ${made.length}`);
  return rows;
}
