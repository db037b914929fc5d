// A step with an objective of the caller's own: forward, the caller's function, backward for each micro-batch, then one step.

import { GleanerError } from '../common/errors.js';
import type { NativeEngine, NativeStepResult } from './addon.js';
import type { checkedStep } from './checks.js';
import { settle } from './command.js';
import { microBatch, type Tree } from './forest.js';
import { joined, noTargets, split, sum } from './step.js';
import type { CustomObjective, TokenRow, UpdateBatch } from './types.js';

type Answer = ReturnType<CustomObjective['compute']>;

/** Callers without types, or with a function that is async, learn what is wrong. */
function checkedAnswer(answer: Answer | undefined): Answer {
  if (typeof answer?.loss === 'number' && Array.isArray(answer.dlogprobs)) return answer;
  const what = answer instanceof Promise ? 'a promise' : 'no { loss, dlogprobs }';
  throw new GleanerError(
    'ERR_GLEANER_USAGE',
    `the objective answered with ${what}`,
    'compute returns { loss: number, dlogprobs: Float32Array[] }, at once',
  );
}

/** The caller lets nobody else use the engine meanwhile: the activations of a forward are kept for its backward. */
export async function customUpdate(
  native: NativeEngine,
  batches: readonly Tree[][],
  { objective, rows }: Extract<UpdateBatch, { rows: readonly TokenRow[] }>,
  settings: ReturnType<typeof checkedStep>,
  signal: AbortSignal | undefined,
): Promise<NativeStepResult> {
  if (objective.name !== 'custom')
    throw new GleanerError('ERR_GLEANER_INTERNAL', `${objective.name} is computed natively`);
  const num_targets = rows.reduce((total, row) => total + row.response_ids.length, 0);
  const denominator = objective.denominator === 'targets' ? num_targets : rows.length;
  if (denominator === 0) throw noTargets();
  const sequence_logprobs: number[] = [];
  let loss = 0;
  let num_tokens = 0;
  let begin = 0;
  try {
    for (const packed of batches) {
      const batch = microBatch(packed);
      const members = rows.slice(begin, begin + packed.length);
      begin += packed.length;
      num_tokens += batch.ids.length;
      const logprobs = split(await settle(() => native.forward(batch), signal, native), members);
      for (const values of logprobs) sequence_logprobs.push(sum(values));
      const answer = checkedAnswer(objective.compute(members, logprobs));
      const dlogprobs = joined(answer.dlogprobs, members, denominator);
      await settle(() => native.backward(dlogprobs), signal, native);
      loss += answer.loss / denominator;
    }
  } catch (error) {
    await settle(() => native.clearGradients()).catch(() => {}); // a closed engine has none; the first error counts
    throw error;
  }
  const result = await settle(() => native.step(loss, settings));
  return { ...result, num_tokens, num_targets, sequence_logprobs: Float64Array.from(sequence_logprobs) };
}
