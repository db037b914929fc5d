// The optimisers that a recipe can name, with their defaults: torch's, and no weight decay.

import { z } from 'zod';

const learning_rate = z.number().nonnegative();
const eps = z.number().positive();
const weight_decay = z.number().nonnegative().default(0);

const rmsprop = z.strictObject({
  name: z.literal('rmsprop'),
  learning_rate: learning_rate.default(5e-7),
  alpha: z.number().min(0).max(1).default(0.99),
  eps: eps.default(1e-8),
  weight_decay,
});

const adamw = z.strictObject({
  name: z.literal('adamw'),
  learning_rate: learning_rate.default(1e-5),
  betas: z.tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)]).default([0.9, 0.999]),
  eps: eps.default(1e-8),
  weight_decay,
});

const optimizers = z.discriminatedUnion('name', [rmsprop, adamw]);

/** A section without a name means RMSProp, the optimiser of the paper. */
export const optimizer = z.preprocess(
  (value) => (isSection(value) && value.name === undefined ? { ...value, name: 'rmsprop' } : value),
  optimizers,
);
export type OptimizerInput = z.input<typeof optimizers> | Omit<z.input<typeof rmsprop>, 'name'>;

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
