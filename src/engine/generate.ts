// One generate call as native takes and answers it, and the caller's word on when a response ends.

import { AsyncResource } from 'node:async_hooks';
import type { NativeEngine, NativeGenerateSettings, NativeJob, NativeResponse } from './addon.js';
import { int32Ids } from './forest.js';
import { sum } from './step.js';
import type { GeneratedRow, GenerateOptions, GeneratePrompt } from './types.js';

/** Prompt tokens of one prefill pass. */
export const PREFILL_TOKENS = 512;
const GENERATE_BATCH = 32;

export interface GenerateCall {
  start: (native: NativeEngine) => NativeJob<NativeResponse[]>;
  rows: (responses: readonly NativeResponse[]) => GeneratedRow[];
}

export function generateCall(prompts: readonly GeneratePrompt[], options: GenerateOptions): GenerateCall {
  const lengths = Int32Array.from(prompts, ({ prompt_ids }) => prompt_ids.length);
  const ids = new Int32Array(sum(lengths));
  let begin = 0;
  for (const { prompt_ids } of prompts) {
    ids.set(int32Ids(prompt_ids), begin);
    begin += prompt_ids.length;
  }
  const samples = Float64Array.from(prompts, ({ sample_id }) => sample_id);
  const settings: NativeGenerateSettings = {
    max_new_tokens: options.max_new_tokens,
    temperature: options.temperature,
    top_p: options.top_p,
    top_k: options.top_k,
    seed: options.seed,
    eos_ids: int32Ids(options.eos_token_ids),
    stop_ids: int32Ids(options.stop_token_ids ?? []),
    batch_size: Math.min(prompts.length, options.batch_size ?? GENERATE_BATCH),
    // Native names the prompt that is too long; a larger number would not reach it.
    max_length: Math.min(lengths.reduce((a, b) => Math.max(a, b), 0) + options.max_new_tokens, 2 ** 31 - 1),
    prefill_tokens: PREFILL_TOKENS,
  };
  // A caller's stop takes effect some tokens later natively; cutting at the place that it named makes the result exact.
  const stoppedAt = new Map<number, number>();
  // Native calls back from nowhere; the caller's code goes on where it was (gate.ts asks where that is).
  const onToken = options.onToken && AsyncResource.bind(options.onToken);
  return {
    start: (native) => {
      let task = 0;
      const onTokens =
        onToken &&
        ((events: Int32Array) => {
          for (let i = 0; i < events.length; i += 3) {
            const [prompt = 0, token = 0, position = 0] = events.subarray(i, i + 3);
            if (stoppedAt.has(prompt) || !onToken({ prompt, token, position })) continue;
            stoppedAt.set(prompt, position);
            native.stopPrompt(task, prompt);
          }
        });
      const job = native.generate(ids, lengths, samples, settings, onTokens);
      task = job.task;
      return job;
    },
    rows: (responses) =>
      responses.map((response, i) => {
        const stop = stoppedAt.get(i);
        const length = stop === undefined ? response.response_ids.length : stop + 1;
        const eos = options.eos_token_ids.includes(response.response_ids[length - 1] ?? -1);
        const full_logprobs = response.full_logprobs.slice(0, length);
        return {
          response_ids: response.response_ids.slice(0, length),
          token_logprobs: response.token_logprobs.slice(0, length),
          full_logprobs,
          logprob: sum(full_logprobs),
          finish_reason: stop === undefined ? response.finish_reason : eos ? 'eos' : 'stop',
        };
      }),
  };
}
