// One SFT step: 8 rows of 256 tokens, the first half of each a prompt without loss, AdamW.

import type { TokenRow } from '../../src/engine/types.js';
import type { Case } from '../case.js';
import { shapes } from '../model.js';
import { Numbers } from '../rows.js';
import { openTraining } from '../training.js';

interface Row extends TokenRow {
  prompt_ids: number[];
  response_ids: number[];
}

const SEED = 1;

export const sft: Case = {
  name: 'sft',
  about: 'SFT step, 14m, 8×256 tokens, first half masked, AdamW',
  peer: { name: 'transformers, eager, fused AdamW', script: 'sft.py' },
  open: (options) =>
    openTraining<Row>(
      {
        shape: shapes['14m'],
        seed: SEED,
        micro_batch_tokens: 2048,
        max_length: 256,
        settings: {},
        rows: async (round) => {
          const numbers = new Numbers(SEED, round);
          return Array.from({ length: 8 }, (_, i) => ({
            id: `${round}.${i}`,
            prompt_ids: numbers.ids(128),
            response_ids: numbers.ids(128),
          }));
        },
        batch: (rows) => ({ objective: { name: 'sft' }, rows }),
        // A row's last token is predicted, but predicts nothing.
        spans: (row) => [{ tokens: row.prompt_ids.length + row.response_ids.length - 1, before: 0 }],
        targets: (row) => row.response_ids.length,
      },
      options,
    ),
};
