// EOS is a target like any other, and nothing but lengths decides what is trained (pitfalls 5.2).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sft } from '../../src/methods/sft.js';
import { goldenModel } from '../golden/golden.js';
import type { ConfigValues } from '../models/tiny_folder.js';
import {
  adamw,
  assertSameBits,
  randomIds,
  randomNumbers,
  trainingOptions,
  withGolden,
  withRandom,
} from '../support/engines.js';
import { methodContext, stepRecords } from '../support/method_context.js';
import { EOS } from '../support/pairs.js';
import { assertClose, suite } from '../support/suite.js';

const config: ConfigValues = {
  ...JSON.parse(readFileSync(join(goldenModel('llama-gqa'), 'config.json'), 'utf8')),
  initializer_range: 0.2,
};
const prompt = [3, 14, 15];
const answer = [9, 26, 53];

suite('EOS', (test) => {
  test('its head row gets the gradient of a target, −(1 − p)·h, and a cut answer’s does not', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const headRow = async (response_ids: number[]) => {
        const { result, gradients } = await engine.gradients({
          objective: { name: 'sft' },
          rows: [{ id: 'a', prompt_ids: prompt, response_ids }],
        });
        const head = gradients.get('lm_head.weight') ?? new Float32Array();
        // A sum over target tokens, so that the two can be compared.
        return Array.from(
          head.slice(EOS * engine.spec.hidden, (EOS + 1) * engine.spec.hidden),
          (value) => value * result.num_targets,
        );
      };
      const [ended, cut] = [await headRow([...answer, EOS]), await headRow(answer)];
      // At the fourth place the true token's share is −(1 − p); every other place adds p·h, which both have.
      const logits = (await engine.logits([...prompt, ...answer])).at(-1) ?? new Float32Array();
      const largest = Math.max(...logits);
      const p =
        Math.exp((logits[EOS] ?? 0) - largest) / logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0);
      const another = await headRow([...answer, 77]);
      const difference = ended.map((value, i) => value - (cut[i] ?? 0)); // −(1 − p)·h
      const asOther = another.map((value, i) => value - (cut[i] ?? 0)); // p·h
      assert.ok(Math.hypot(...difference) > 0.1);
      assertClose(
        difference,
        asOther.map((value) => (-value * (1 - p)) / p),
        1e-4 / p,
      );
    }));

  test('a pad token that is EOS, another one, or none: the same loss and gradients, bit by bit', async () => {
    const rows = [
      { id: 'a', prompt_ids: [...prompt, EOS, 5], response_ids: [...answer, EOS] },
      { id: 'b', prompt_ids: [7, EOS], response_ids: [EOS] },
      { id: 'c', prompt_ids: [0, 0, 1], response_ids: [0, 8, 0, EOS] },
    ];
    const run = (pad_token_id: number | null) =>
      withRandom({ ...config, pad_token_id }, {}, async (engine) => {
        await engine.prepareTraining(trainingOptions);
        const { result, gradients } = await engine.gradients({ objective: { name: 'sft' }, rows });
        return { result, gradients, scores: await engine.score(rows) };
      });
    const [none, same, other] = [await run(null), await run(EOS), await run(0)];
    for (const found of [same, other]) {
      assert.deepEqual(found.result, none.result);
      assert.deepEqual(found.scores, none.scores);
      assertSameBits(found.gradients, none.gradients);
    }
    assert.equal(none.result.num_targets, 9); // every token of every response, EOS and id 0 too
  });

  test('after overfitting 8 demonstrations, sampling writes them and stops at EOS, 8 of 8', () =>
    withRandom(config, {}, async (engine) => {
      const random = randomNumbers(61);
      const rows = Array.from({ length: 8 }, (_, i) => ({
        id: `${i}`,
        prompt_ids: [10 + i, ...randomIds(random, 3, 90, 3)],
        response_ids: [...randomIds(random, 2 + i, 90, 3), EOS],
      }));
      await engine.prepareTraining({ ...trainingOptions, optimizer: adamw });
      const optimizer = { ...adamw, learning_rate: 1e-2 };
      const context = methodContext(engine, rows, {
        eos_token_ids: [EOS],
        train: { epochs: 60, batch_size: 8, optimizer },
      });
      await sft.run(context, {});
      assert.ok((stepRecords(context).at(-1)?.loss ?? 9) < 0.05);
      const prompts = rows.map(({ prompt_ids }, sample_id) => ({ prompt_ids, sample_id }));
      for (const temperature of [0, 0.5]) {
        const written = await engine.generate(prompts, {
          max_new_tokens: 40,
          temperature,
          top_p: 1,
          top_k: 0,
          seed: 1,
          eos_token_ids: [EOS],
        });
        assert.deepEqual(
          written.map(({ finish_reason }) => finish_reason),
          rows.map(() => 'eos'),
        );
        assert.deepEqual(
          written.map(({ response_ids }) => [...response_ids]),
          rows.map(({ response_ids }) => response_ids),
        );
      }
    }));
});
