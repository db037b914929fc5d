// Ids one by one to text piece by piece. A token's text depends on those before it (bytes of one character, a leading space), so it is decoded
// with what was given out last, and what is incomplete waits.

/** Text of tokens that come one by one; a character that is not whole yet is held back. */
export class TextStream {
  /** The ids whose text was given out last, then those that wait. */
  #ids: number[];
  #given: number;

  constructor(
    private readonly decode: (ids: readonly number[]) => string,
    before: Iterable<number> = [],
  ) {
    this.#ids = Array.from(before);
    this.#given = this.#ids.length;
  }

  /** The text that became safe with this id; '' while a character is incomplete. */
  push(id: number): string {
    this.#ids.push(id);
    const [old, all] = this.#texts();
    if (all.length <= old.length || all.endsWith('\uFFFD')) return '';
    return this.#give(all.slice(old.length));
  }

  /** The rest; U+FFFD stands for what never was completed. */
  end(): string {
    const [old, all] = this.#texts();
    return this.#give(all.slice(old.length));
  }

  #texts(): [old: string, all: string] {
    return [this.decode(this.#ids.slice(0, this.#given)), this.decode(this.#ids)];
  }

  #give(text: string): string {
    this.#ids = this.#ids.slice(this.#given);
    this.#given = this.#ids.length;
    return text;
  }
}
