// Rows that stand twice, and rows of the training data that stand in the evaluation data too: exactly, by prompt, or but for case, spaces and
// punctuation.

import { bytesOf, FirstRows, hash64 } from './seen.js';

/** What a row is compared by. A row without a prompt of its own (plain text) has no prompt hash. */
export interface RowHashes {
  row: readonly [number, number];
  prompt: readonly [number, number] | undefined;
  /** Of the text in small letters and digits alone. */
  text: readonly [number, number] | undefined;
}

export function rowHashes(
  prompt_ids: readonly number[],
  response_ids: readonly number[],
  ownPrompt: boolean,
  text: string | undefined,
): RowHashes {
  const [prompt, response] = [bytesOf(prompt_ids), bytesOf(response_ids)];
  const plain = text
    ?.normalize('NFKC')
    .toLowerCase()
    .replace(/[^\p{L}\p{N}]+/gu, ' ')
    .trim();
  return {
    row: hash64('row', bytesOf([prompt_ids.length]), prompt, response),
    prompt: ownPrompt ? hash64('prompt', prompt) : undefined,
    text: plain === undefined || plain === '' ? undefined : hash64('text', plain),
  };
}

/** Rows in both of two places, and the first of them: their numbers, from 1. */
export interface Repeats {
  rows: number;
  first: { row: number; id: string; same_as_row: number } | null;
}

/** same_text: alike but for case, spaces and punctuation; rows that are the same to the token are not counted again. */
export interface RepeatCounts {
  same_row: Repeats;
  same_prompt: Repeats;
  same_text: Repeats;
}

export class RowIndex {
  readonly #rows = new FirstRows();
  readonly #prompts = new FirstRows();
  readonly #texts = new FirstRows();

  add({ row, prompt, text }: RowHashes, number: number): void {
    this.#rows.add(row, number);
    if (prompt) this.#prompts.add(prompt, number);
    if (text) this.#texts.add(text, number);
  }

  /** Counts what of this row is known already. */
  count(hashes: RowHashes, number: number, id: string, counts: RepeatCounts): void {
    const note = (repeats: Repeats, same_as_row: number | undefined): boolean => {
      if (same_as_row === undefined) return false;
      repeats.rows += 1;
      repeats.first ??= { row: number, id, same_as_row };
      return true;
    };
    const exact = note(counts.same_row, this.#rows.get(hashes.row));
    if (hashes.prompt) note(counts.same_prompt, this.#prompts.get(hashes.prompt));
    if (hashes.text && !exact) note(counts.same_text, this.#texts.get(hashes.text));
  }
}

export function noRepeats(): RepeatCounts {
  const none = (): Repeats => ({ rows: 0, first: null });
  return { same_row: none(), same_prompt: none(), same_text: none() };
}
