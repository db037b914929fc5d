// One pair step (IRFT, SPIN, DPO): 4 prompts of 128 tokens with a real and a generated answer each, logistic loss, the reference's
// log-probabilities given to both sides as numbers. Gleaner computes a prompt once; the peer pads all eight sequences.

import type { PairRow } from '../../src/engine/types.js';
import type { Case } from '../case.js';
import { shapes } from '../model.js';
import { Numbers } from '../rows.js';
import { openTraining } from '../training.js';

interface Row extends PairRow {
  prompt_ids: number[];
  real_ids: number[];
  generated_ids: number[];
}

const SEED = 2;
const BETA = 0.1;

export const pair: Case = {
  name: 'pair',
  about: 'pair step, 14m, 4 × (prompt 128, two answers of 32–255), logistic, β 0.1, AdamW',
  peer: { name: 'transformers, eager, fused AdamW, padded batch as TRL’s', script: 'pair.py' },
  open: (options) =>
    openTraining<Row>(
      {
        shape: shapes['14m'],
        seed: SEED,
        micro_batch_tokens: 4 * (128 + 2 * 255),
        max_length: 128 + 255,
        settings: { beta: BETA },
        rows: async (round, engine) => {
          const numbers = new Numbers(SEED, round);
          const rows = Array.from({ length: 4 }, (_, i) => ({
            id: `${round}.${i}`,
            prompt_ids: numbers.ids(128),
            real_ids: numbers.ids(numbers.answerLength()),
            generated_ids: numbers.ids(numbers.answerLength()),
          }));
          // A reference some nats away from the policy, so that margins differ from 0 and the check sees a loss other than ln 2.
          const scored = await engine.score(
            rows.flatMap(({ id, prompt_ids, real_ids, generated_ids }) => [
              { id, prompt_ids, response_ids: real_ids },
              { id, prompt_ids, response_ids: generated_ids },
            ]),
          );
          const reference = (at: number) => (scored[at]?.logprob ?? 0) + 5 * numbers.normal();
          return rows.map((row, i) => ({ ...row, ref_real: reference(2 * i), ref_generated: reference(2 * i + 1) }));
        },
        batch: (pairs) => ({ objective: { name: 'pair', loss: 'logistic', beta: BETA, nll_weight: 0 }, pairs }),
        spans: ({ prompt_ids, real_ids, generated_ids }) => [
          { tokens: prompt_ids.length, before: 0 },
          { tokens: real_ids.length - 1, before: prompt_ids.length },
          { tokens: generated_ids.length - 1, before: prompt_ids.length },
        ],
        targets: ({ real_ids, generated_ids }) => real_ids.length + generated_ids.length,
      },
      options,
    ),
};
