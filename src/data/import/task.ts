// What the worker threads of an import are asked and answer: rows in, ids out, as arrays that are handed over without a copy.

import type { Row } from '../rows.js';
import type { RowTokenizer, TokenizeSettings } from '../tokenize.js';

export interface WorkerSetup {
  tokenizer: string;
  settings: TokenizeSettings;
}

export interface TokenizedTask {
  /** All rows' ids one after the other, and where each row's begin: [rows + 1]. A row that was dropped has none. */
  prompt_ids: Int32Array;
  prompt_offsets: Int32Array;
  response_ids: Int32Array;
  response_offsets: Int32Array;
  /** 1: the prompt was cut, 2: the response was. */
  cut: Uint8Array;
  dropped: { row: number; reason: string; why: string }[];
}

/** An error as it crosses from thread to thread, which would lose its code. */
export interface TaskFailure {
  failure: { code: string; message: string; hint: string | undefined };
}

export const PROMPT_CUT = 1;
export const RESPONSE_CUT = 2;

export function tokenizeTask(tokenizer: RowTokenizer, rows: readonly Row[]): TokenizedTask {
  const prompts: (readonly number[])[] = [];
  const responses: (readonly number[])[] = [];
  const cut = new Uint8Array(rows.length);
  const dropped: TokenizedTask['dropped'] = [];
  for (const [number, row] of rows.entries()) {
    const { prompts_cut, responses_cut } = tokenizer.counts;
    const ids = tokenizer.tokenize(row);
    prompts.push(ids?.prompt_ids ?? []);
    responses.push(ids?.response_ids ?? []);
    if (ids === undefined) dropped.push({ row: number, ...takeReason(tokenizer) });
    if (tokenizer.counts.prompts_cut > prompts_cut) cut[number] = PROMPT_CUT;
    if (tokenizer.counts.responses_cut > responses_cut) cut[number] = (cut[number] ?? 0) | RESPONSE_CUT;
  }
  const [prompt_ids, prompt_offsets] = flat(prompts);
  const [response_ids, response_offsets] = flat(responses);
  return { prompt_ids, prompt_offsets, response_ids, response_offsets, cut, dropped };
}

/** Why the last row was dropped. It is forgotten there, so that the next one is told as well. */
function takeReason({ firstDropped }: RowTokenizer): { reason: string; why: string } {
  const [reason = 'dropped', why = ''] = Object.entries(firstDropped)[0] ?? [];
  delete firstDropped[reason];
  return { reason, why };
}

function flat(lists: readonly (readonly number[])[]): [ids: Int32Array, offsets: Int32Array] {
  const offsets = new Int32Array(lists.length + 1);
  for (const [place, { length }] of lists.entries()) offsets[place + 1] = (offsets[place] ?? 0) + length;
  const ids = new Int32Array(offsets.at(-1) ?? 0);
  for (const [place, list] of lists.entries()) ids.set(list, offsets[place]);
  return [ids, offsets];
}
