// One optimiser step as native takes and answers it: its objective with the step's one denominator, and flat logprobs split by row.

import { GleanerError } from '../common/errors.js';
import type { NativeObjective, NativeStepResult } from './addon.js';
import { checkPair } from './checks.js';
import type { TokenRow, UpdateBatch, UpdateResult } from './types.js';

export function nativeObjective(batch: UpdateBatch): NativeObjective | undefined {
  const { objective } = batch;
  switch (objective.name) {
    case 'sft': {
      const denominator = 'rows' in batch ? batch.rows.reduce((total, row) => total + row.response_ids.length, 0) : 0;
      if (denominator === 0) throw noTargets();
      return { name: 'sft', loss: '', beta: 0, nll_weight: 0, denominator, nll_denominator: 1 };
    }
    case 'pair': {
      checkPair(objective);
      const pairs = 'pairs' in batch ? batch.pairs : [];
      if (pairs.length === 0) throw noTargets();
      const real_tokens = pairs.reduce((total, pair) => total + pair.real_ids.length, 0);
      return {
        name: 'pair',
        loss: objective.loss,
        beta: objective.beta,
        nll_weight: objective.nll_weight,
        denominator: pairs.length,
        nll_denominator: Math.max(1, real_tokens),
      };
    }
    case 'custom':
      return undefined;
    default:
      return objective satisfies never;
  }
}

export function noTargets(): GleanerError {
  return new GleanerError(
    'ERR_GLEANER_DATA',
    'this step has no token to train on',
    'every response of the batch is empty',
  );
}

export function required(objective: NativeObjective | undefined): NativeObjective {
  if (!objective)
    throw new GleanerError('ERR_GLEANER_USAGE', 'a custom objective has no native gradients', 'use update');
  return objective;
}

export function updateResult(
  result: NativeStepResult,
  batch: UpdateBatch | undefined,
  micro_batches: number,
): UpdateResult {
  const { loss, grad_norm, skipped, num_tokens, num_targets, sequence_logprobs } = result;
  const common = { loss, grad_norm, skipped, num_tokens, num_targets, micro_batches };
  if (batch?.objective.name !== 'pair') return common;
  const half = sequence_logprobs.length / 2;
  return {
    ...common,
    pairs: {
      real_logprobs: Float64Array.from({ length: half }, (_, i) => sequence_logprobs[2 * i] ?? 0),
      generated_logprobs: Float64Array.from({ length: half }, (_, i) => sequence_logprobs[2 * i + 1] ?? 0),
    },
  };
}

export function split(flat: Float32Array, rows: readonly TokenRow[]): Float32Array[] {
  let begin = 0;
  return rows.map((row) => {
    const end = begin + row.response_ids.length;
    const part = flat.slice(begin, end);
    begin = end;
    return part;
  });
}

export function joined(parts: readonly Float32Array[], rows: readonly TokenRow[], denominator: number): Float32Array {
  const total = rows.reduce((count, row) => count + row.response_ids.length, 0);
  const flat = new Float32Array(total);
  let begin = 0;
  for (const [i, row] of rows.entries()) {
    const part = parts[i];
    if (part?.length !== row.response_ids.length) {
      throw new GleanerError(
        'ERR_GLEANER_USAGE',
        `row ${row.id}: the objective gave ${part?.length ?? 'no'} dlogprobs for ${row.response_ids.length} tokens`,
      );
    }
    for (const value of part) flat[begin++] = value / denominator;
  }
  return flat;
}

export function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
