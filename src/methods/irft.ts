// IRFT: the policy is its own reward, r(x, y) = β·log(π_θ(y|x) / π_ref(y|x)). arXiv 2405.17888, Algorithm 2; method.md §3.
//
//   split the shuffled D into T disjoint chunks (or reuse all of D every round)
//   for t = 0 … T−1
//       ỹ ~ π_t(·|x) for every x of chunk t; freeze π_ref := π_t (or π_0)
//       E epochs over the chunk, or K steps:
//           m = β·([log π_θ(y|x) − log π_ref(y|x)] − [log π_θ(ỹ|x) − log π_ref(ỹ|x)])
//           minimise the mean of  −log σ(m)  (logistic),  max(0, 1 − m)  (hinge)  or  −m  (linear),
//           plus nll_weight times the SFT loss of y
//       optimiser and schedule start afresh in each round, unless restart is never
//
// The loop itself stands in pair_rounds.ts, which SPIN shares; the loss in native/learn/objectives/pair.cc.

import { z } from 'zod';
import { defineMethod } from './method.js';
import { type PairRounds, planPairRounds, trainPairRounds } from './pair_rounds.js';

const options = z.strictObject({
  rounds: z.int().positive().default(3),
  beta: z.number().positive().default(0.1),
  loss: z.enum(['logistic', 'hinge', 'linear']).default('logistic'),
  chunks: z.enum(['disjoint', 'all']).default('disjoint'),
  reference: z.enum(['previous', 'initial']).default('previous'),
  steps_per_round: z.int().positive().nullable().default(null),
  restart: z.enum(['round', 'never']).default('round'),
  generation_rate: z.number().min(0).max(1).default(0),
  nll_weight: z.number().min(0).default(0),
  mix_previous: z.int().min(0).default(0),
});
/** The recipe's section irft: docs/recipes.md has its keys. */
export type IrftOptions = z.output<typeof options>;

function pairRounds({ rounds, beta, ...rest }: IrftOptions, learning_rate: number): PairRounds {
  return { ...rest, section: 'irft', rounds: Array.from({ length: rounds }, () => ({ beta, learning_rate })) };
}

export const irft = defineMethod<IrftOptions>({
  name: 'irft',
  options,
  pairs: true,
  keepsRound: ({ generation_rate, reference }) => generation_rate > 0 && reference === 'previous',
  plan: ({ numRows, train }, settings) =>
    planPairRounds(numRows, train, pairRounds(settings, train.optimizer.learning_rate)),
  run: (context, settings) => trainPairRounds(context, pairRounds(settings, context.train.optimizer.learning_rate)),
});
