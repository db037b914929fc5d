// Evaluation on held-out demonstrations: what is compared with what.

import assert from 'node:assert/strict';
import type { TokenRow } from '../../src/engine/types.js';
import { HeldOut } from '../../src/methods/held_out.js';
import { methodContext } from '../support/method_context.js';
import { suite } from '../support/suite.js';
import { TabularTrainer } from '../support/tabular_trainer.js';

suite('eval/logp_gap', (test) => {
  test('an answer is compared with its own demonstration where a longer prompt before it is not answered', async () => {
    // The prompt's first token decides how likely token 0 is, and token 0 is what is demonstrated and what is answered: no gap.
    const engine = new TabularTrainer({ vocab: 3, start: (context) => [Number.parseInt(context, 10), 0, 0] });
    const answer = { response_ids: Int32Array.of(0), logprob: 0, finish_reason: 'length' } as const;
    engine.generate = async (prompts) =>
      prompts.map(() => ({ ...answer, token_logprobs: new Float32Array(1), full_logprobs: new Float32Array(1) }));
    const row = (id: string, prompt_ids: number[]): TokenRow => ({ id, prompt_ids, response_ids: [0] });
    const context = methodContext(engine, [], {
      held_out: [row('too long', [5, ...new Array(10).fill(0)]), row('a', [1]), row('b', [3])],
      max_positions: 10,
      evaluation: { every: null, samples: 2 },
    });
    const heldOut = new HeldOut(context, 1);
    const { generations } = await heldOut.answer();
    assert.equal(generations.length, 2);
    assert.equal((await heldOut.measure(generations.map((row) => row.response_ids)))['eval/logp_gap'], 0);
  });
});
