// Texts that end an answer, found across the borders of tokens. Text that could be the beginning of one is held back until it is not.

import type { TextStream } from '../data/tokenizer/text_stream.js';
import type { Tokenizer } from '../data/tokenizer/tokenizer.js';

export class StopStrings {
  readonly #stream: TextStream | undefined;
  #text = '';
  /** Characters of #text that have been given out. */
  #given = 0;
  stopped = false;

  constructor(
    tokenizer: Tokenizer | undefined,
    prompt_ids: readonly number[],
    private readonly stops: readonly string[],
  ) {
    this.#stream = tokenizer?.textStream(prompt_ids);
  }

  /** The answer so far, without the text that stopped it. */
  get text(): string {
    return this.#text;
  }

  /** Characters that push has given out. */
  get given(): number {
    return this.#given;
  }

  /** Takes a token; gives back the text that is certain now. */
  push(token: number): string {
    if (!this.#stream || this.stopped) return '';
    this.#text += this.#stream.push(token);
    const places = this.stops
      .map((stop) => this.#text.indexOf(stop, Math.max(0, this.#given - stop.length)))
      .filter((place) => place >= 0);
    if (places.length > 0) {
      this.#text = this.#text.slice(0, Math.min(...places));
      this.stopped = true;
    }
    const certain = this.stopped ? this.#text.length : this.#text.length - this.#heldBack();
    const fresh = this.#text.slice(this.#given, certain);
    this.#given = Math.max(this.#given, certain);
    return fresh;
  }

  /** The longest end of the text that begins a stop text. */
  #heldBack(): number {
    let longest = 0;
    for (const stop of this.stops) {
      for (let length = Math.min(stop.length - 1, this.#text.length); length > longest; --length) {
        if (this.#text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
