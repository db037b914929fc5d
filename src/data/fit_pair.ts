// A demonstration and what was sampled to its prompt, as a pair to train on.

import { answerRoom, cutPrompt, type Lengths } from './truncate.js';

type TokenIds = readonly number[] | Int32Array;

export interface PairIds {
  prompt_ids: ArrayLike<number>;
  response_ids: ArrayLike<number>;
}

export interface Sampled {
  response_ids: Int32Array;
  finish_reason: 'eos' | 'stop' | 'length';
}

export interface FittedIds {
  prompt_ids: TokenIds;
  real_ids: TokenIds;
  generated_ids: TokenIds;
  /** False where an id was added or the prompt was cut: what was sampled has another log-probability than what is trained. */
  as_sampled: boolean;
}

/** ỹ exactly as sampled: EOS ends it only where the policy sampled it. */
export function fitSampledPair(row: PairIds, { response_ids }: Sampled, maxLength: number): FittedIds {
  const left = Math.max(0, maxLength - row.prompt_ids.length);
  return {
    prompt_ids: tokenIds(row.prompt_ids),
    real_ids: tokenIds(row.response_ids),
    generated_ids: response_ids.length > left ? response_ids.slice(0, left) : response_ids,
    as_sampled: true,
  };
}

export interface CompatSettings extends Lengths {
  eos_token_id: number;
  /** How answers of this row end: EOS, or for chats the template's EOS, its newline and one more EOS. */
  tail: readonly number[];
  /** The demonstration was too long on its own, and cut. */
  cut: boolean;
}

/** As the released code's collator: both answers end in the same tail, and the longer one decides what is cut. */
export function fitCompatPair(row: PairIds, sampled: Sampled, settings: CompatSettings): FittedIds {
  const written = Array.from(sampled.response_ids);
  if (written.at(-1) === settings.eos_token_id) written.pop();
  const generated = [...written, ...settings.tail];
  const longest = settings.cut ? Number.POSITIVE_INFINITY : Math.max(row.response_ids.length, generated.length);
  const prompt = Array.from(row.prompt_ids);
  const prompt_ids = prompt.length + longest > settings.max_length ? cutPrompt(prompt, settings, undefined) : prompt;
  const room = answerRoom(prompt_ids.length, longest, settings);
  const generated_ids = Int32Array.from(generated.slice(0, room));
  return {
    prompt_ids,
    real_ids: Array.from(row.response_ids).slice(0, room),
    generated_ids,
    as_sampled:
      prompt_ids.length === prompt.length && generated_ids.every((id, place) => id === sampled.response_ids[place]),
  };
}

function tokenIds(ids: ArrayLike<number>): TokenIds {
  return ids instanceof Int32Array || isArray(ids) ? ids : Array.from(ids);
}

function isArray(ids: ArrayLike<number>): ids is readonly number[] {
  return Array.isArray(ids);
}
