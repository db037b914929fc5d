// Ids one by one to text piece by piece. A token's text depends on those before it (bytes of one character, a leading space), so a window of
// the last ones is decoded anew, and what is incomplete waits.

export class TextStream {
  #ids: number[];
  /** The window begins here: a place where text was safe. */
  #begin = 0;
  /** Text up to here was given out. */
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
    const window = this.#ids.slice(this.#begin);
    return [this.decode(window.slice(0, this.#given - this.#begin)), this.decode(window)];
  }

  #give(text: string): string {
    this.#ids = this.#ids.slice(this.#given);
    this.#begin = 0;
    this.#given = this.#ids.length;
    return text;
  }
}
