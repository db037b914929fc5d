// What happens to rows that are too long: method.md's rule, decided before anything is generated, so that what is sampled from is what is
// trained on. The prompt keeps its end (the question stands there), the answer its start.

export interface Lengths {
  max_length: number;
  max_prompt_length: number;
  /** null: nothing is generated. */
  max_new_tokens: number | null;
  /** The released code's rule: looks at answers that are there, never at those to come. */
  paper_compat: boolean;
}

export interface Cut {
  prompt_ids: number[];
  response_ids: number[];
  prompt_cut: boolean;
  response_cut: boolean;
}

export function truncate(
  prompt: readonly number[],
  response: readonly number[],
  lengths: Lengths,
  bos: number | undefined,
): Cut {
  const { max_length, max_new_tokens, paper_compat } = lengths;
  const longest = Math.max(response.length, paper_compat ? 0 : (max_new_tokens ?? 0));
  const prompt_ids = prompt.length + longest > max_length ? cutPrompt(prompt, lengths, bos) : [...prompt];
  const response_ids = response.slice(0, answerRoom(prompt_ids.length, response.length, lengths));
  return {
    prompt_ids,
    response_ids,
    prompt_cut: prompt_ids.length < prompt.length,
    response_cut: response_ids.length < response.length,
  };
}

/**
 * The last max_prompt_length tokens. A BOS at the prompt's start stays there and counts as one of them: models that were trained with it at
 * every start lose their footing without it. paper_compat: plainly the last ones.
 */
export function cutPrompt(
  prompt: readonly number[],
  { max_prompt_length, paper_compat }: Lengths,
  bos: number | undefined,
): number[] {
  if (prompt.length <= max_prompt_length) return [...prompt];
  if (!paper_compat && bos !== undefined && prompt[0] === bos && max_prompt_length > 1)
    return [bos, ...prompt.slice(1 - max_prompt_length)];
  return prompt.slice(-max_prompt_length);
}

/** Most tokens of an answer: what the prompt leaves. paper_compat: where the longer answer goes over, what a longest prompt would leave. */
export function answerRoom(
  promptLength: number,
  longest: number,
  { max_length, max_prompt_length, paper_compat }: Lengths,
): number {
  const left = Math.max(0, max_length - promptLength);
  return paper_compat && longest > left ? Math.max(0, max_length - max_prompt_length) : left;
}
