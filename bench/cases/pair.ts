// One pair step (IRFT, SPIN, DPO): 4 prompts of 128 tokens with a real and a generated answer each, logistic loss. Gleaner gets the
// reference's log-probabilities as numbers, as its own runs do: scored once, before the steps.

import type { PairRow } from '../../src/engine/types.js';
import type { Case, PeerSpec } from '../case.js';
import type { ModelName } from '../model.js';
import { Numbers } from '../rows.js';
import { openTraining } from '../training.js';

interface Row extends PairRow {
  prompt_ids: number[];
  real_ids: number[];
  generated_ids: number[];
}

const SEED = 2;
const BETA = 0.1;

const DEFAULT = 'TRL DPOTrainer';
const PRECOMPUTED = 'TRL DPOTrainer, reference precomputed';
const LEAN = 'lean torch';

const peers: readonly PeerSpec[] = [
  { name: DEFAULT, runtime: 'python', script: 'dpo.py', settings: { reference: 'model' }, quick: false },
  { name: PRECOMPUTED, runtime: 'python', script: 'dpo.py', settings: { reference: 'precomputed' } },
  { name: LEAN, runtime: 'python', script: 'lean.py', settings: {} },
];

function pairCase(model: ModelName, goals: readonly [number, number, number]): Case {
  return {
    kind: 'rounds',
    name: `pair-${model}`,
    group: 'pair',
    about: `pair step, ${model}, 4 × (prompt 128, two answers of 32–255), logistic, β 0.1, AdamW`,
    peers,
    tolerances: { loss: 1e-4, grad_norm: 1e-3 },
    goals: { ratio: { [DEFAULT]: goals[0], [PRECOMPUTED]: goals[1], [LEAN]: goals[2] } },
    quick: model === '14m',
    open: (options) =>
      openTraining<Row>(
        {
          model,
          micro_batch_tokens: 4 * (128 + 2 * 255),
          max_length: 128 + 255,
          settings: { beta: BETA, max_length: 128 + 255 },
          rows: async (round, vocab, engine) => {
            const numbers = new Numbers(SEED, round);
            const rows = Array.from({ length: 4 }, (_, i) => ({
              id: `${round}.${i}`,
              prompt_ids: numbers.ids(128, vocab),
              real_ids: numbers.ids(numbers.answerLength(), vocab),
              generated_ids: numbers.ids(numbers.answerLength(), vocab),
            }));
            // The reference is the model as it was loaded: what a trainer with a reference model of its own computes too.
            const scored = await engine.score(
              rows.flatMap(({ id, prompt_ids, real_ids, generated_ids }) => [
                { id, prompt_ids, response_ids: real_ids },
                { id, prompt_ids, response_ids: generated_ids },
              ]),
            );
            const reference = (at: number) => scored[at]?.logprob ?? 0;
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
}

export const pairs: readonly Case[] = [pairCase('14m', [12, 10, 1.5]), pairCase('70m', [4.3, 3.5, 1.5])];
