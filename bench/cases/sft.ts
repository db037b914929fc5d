// One SFT step: 8 rows of 256 tokens, the first half of each a prompt without loss, AdamW.

import type { TokenRow } from '../../src/engine/types.js';
import type { Case, Goals, PeerSpec } from '../case.js';
import type { ModelName } from '../model.js';
import { Numbers } from '../rows.js';
import { openTraining } from '../training.js';

interface Row extends TokenRow {
  prompt_ids: number[];
  response_ids: number[];
}

const SEED = 1;

const EAGER = 'transformers eager';
const COMPILED = 'transformers compiled';

/** Compiling takes half a minute, and pays most where Python is most of the time: at the smaller models and the larger thread count. */
const peers: readonly PeerSpec[] = [
  { name: EAGER, runtime: 'python', script: 'sft.py', settings: {} },
  { name: COMPILED, runtime: 'python', script: 'sft.py', settings: { compile: true }, threads: [2], quick: false },
];

export function sftRows(round: number, vocab: number): Row[] {
  const numbers = new Numbers(SEED, round);
  return Array.from({ length: 8 }, (_, i) => ({
    id: `${round}.${i}`,
    prompt_ids: numbers.ids(128, vocab),
    response_ids: numbers.ids(128, vocab),
  }));
}

function sftCase(model: ModelName, ratio: number, more: Pick<Goals, 'share_of_peak'>): Case {
  return {
    kind: 'rounds',
    name: `sft-${model}`,
    group: 'sft',
    about: `SFT step, ${model}, 8 × 256 tokens, first half masked, AdamW`,
    peers,
    tolerances: { loss: 1e-4, grad_norm: 1e-3 },
    goals: { ratio: { [EAGER]: ratio, [COMPILED]: ratio }, ...more },
    quick: model === '14m',
    open: (options) =>
      openTraining<Row>(
        {
          model,
          micro_batch_tokens: 2048,
          max_length: 256,
          settings: {},
          rows: async (round, vocab) => sftRows(round, vocab),
          batch: (rows) => ({ objective: { name: 'sft' }, rows }),
          // A row's last token is predicted, but predicts nothing.
          spans: (row) => [{ tokens: row.prompt_ids.length + row.response_ids.length - 1, before: 0 }],
          targets: (row) => row.response_ids.length,
        },
        options,
      ),
  };
}

export const sft: readonly Case[] = [
  sftCase('14m', 4, { share_of_peak: 0.7 }),
  sftCase('70m', 1.8, {}),
  sftCase('160m', 1.4, { share_of_peak: 0.82 }),
];
