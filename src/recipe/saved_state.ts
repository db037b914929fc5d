// state.json of a checkpoint: where the run stood, and what it stood on.

import { z } from 'zod';
import { GleanerError } from '../common/errors.js';

const count = z.int().nonnegative();
const runState = z.strictObject({
  step: count,
  batches: count,
  num_tokens: z.number().nonnegative(),
  skipped_steps: count,
  skips_in_a_row: count,
  evaluated_at: z.int().min(-1),
  answered_at: z.int().min(-1),
  baseline: z.array(z.array(count)),
  round: count,
  round_start: z.strictObject({ step: count, batches: count }).nullable(),
});

const savedState = z.object({
  format: z.literal(1),
  gleaner: z.string(),
  run: runState,
  /** Lengths of the files at that moment: what came behind is done again. */
  metrics_bytes: count,
  events_bytes: count.nullable(),
  /** The best evaluation so far, where checkpoint.best names a metric. */
  best: z.object({ metric: z.string(), goal: z.string(), step: count, value: z.number() }).nullable(),
  /** The fp32 weights are in optimizer.safetensors, since those of the policy are narrower. */
  weights_in_optimizer: z.boolean(),
  data: z.string(),
  model: z.string(),
  isa: z.string(),
  micro_batch_tokens: count,
  activations: z.enum(['keep', 'recompute']),
});

export type SavedState = z.output<typeof savedState>;

export function parseState(value: unknown, path: string): SavedState {
  const parsed = savedState.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new GleanerError(
    'ERR_GLEANER_DATA',
    `${path}: not a state that this version can go on from: ${issue?.path.join('.')}: ${issue?.message}`,
    'Remove this checkpoint to go on from the one before it.',
    { cause: parsed.error },
  );
}
