// SPIN: IRFT's round with T = 1, over all prompts, again and again. Chen et al. 2024 (uclaml/SPIN); method.md §4.
//
//   for iteration 0, 1, …
//       ỹ ~ π_t(·|x) for every x of D; freeze π_ref := π_t
//       E epochs over the pairs, from iteration 1 on with those of the mix_previous iterations before it, whose reference is π_t too now
//
// β and the learning rate may be lists with one value an iteration (SPIN: β 0.1, 5.0 in the last; 5e-7, later 1e-7).

import { z } from 'zod';
import { GleanerError } from '../common/errors.js';
import { defineMethod } from './method.js';
import { type PairRounds, planPairRounds, trainPairRounds } from './pair_rounds.js';

const perIteration = z.union([z.number().positive(), z.array(z.number().positive()).min(1)]);

const options = z.strictObject({
  iterations: z.int().positive().default(2),
  beta: perIteration.default(0.1),
  learning_rate: perIteration.nullable().default(null),
  loss: z.enum(['logistic', 'hinge', 'linear']).default('logistic'),
  mix_previous: z.int().min(0).default(1),
});
/** The recipe's section spin: docs/recipes.md has its keys. */
export type SpinOptions = z.output<typeof options>;

function pairRounds({ iterations, beta, learning_rate, loss, mix_previous }: SpinOptions, peak: number): PairRounds {
  const betas = spread('beta', beta, iterations);
  const rates = spread('learning_rate', learning_rate ?? peak, iterations);
  return {
    section: 'spin',
    rounds: betas.map((value, iteration) => ({ beta: value, learning_rate: rates[iteration] ?? peak })),
    loss,
    chunks: 'all',
    reference: 'previous',
    steps_per_round: null,
    restart: 'round',
    generation_rate: 0,
    nll_weight: 0,
    mix_previous,
  };
}

/** One value for all iterations, or a list with one for each. */
function spread(key: string, value: number | readonly number[], iterations: number): number[] {
  if (typeof value === 'number') return Array.from({ length: iterations }, () => value);
  if (value.length === iterations) return [...value];
  throw new GleanerError(
    'ERR_GLEANER_RECIPE',
    `spin.${key} has ${value.length} values for ${iterations} iterations`,
    `Give one number, or ${iterations} of them.`,
  );
}

export const spin = defineMethod<SpinOptions>({
  name: 'spin',
  options,
  pairs: true,
  plan: ({ numRows, train }, settings) =>
    planPairRounds(numRows, train, pairRounds(settings, train.optimizer.learning_rate)),
  run: (context, settings) => trainPairRounds(context, pairRounds(settings, context.train.optimizer.learning_rate)),
});
