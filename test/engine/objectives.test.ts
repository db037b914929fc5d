// The pair losses by their formulas on a real engine, and objectives of the caller's own against the native ones.
// Gradients: 2e-5 of a tensor's norm, where many are added.

import assert from 'node:assert/strict';
import type { Engine } from '../../src/engine/engine.js';
import type { PairLoss, PairRow, UpdateBatch, UpdateResult } from '../../src/engine/types.js';
import { assertSimilar, type Tensors, trainingOptions, withGolden } from '../support/engines.js';
import { demonstrations, EOS, generatedRow, logprobGradient, realRow, somePairs, total } from '../support/pairs.js';
import { assertClose, suite } from '../support/suite.js';

suite('the loss forms', (test) => {
  const withPairs = (work: (engine: Engine, pairs: PairRow[], margins: number[]) => Promise<void>) =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const pairs = somePairs();
      const [real, generated] = [await engine.score(pairs.map(realRow)), await engine.score(pairs.map(generatedRow))];
      const beta = 0.5;
      const margins = pairs.map(
        ({ ref_real, ref_generated }, i) =>
          beta *
          ((real[i]?.logprob ?? Number.NaN) - ref_real - ((generated[i]?.logprob ?? Number.NaN) - ref_generated)),
      );
      assert.ok(Math.min(...margins) < 0 && Math.max(...margins) > 1);
      await work(engine, pairs, margins);
    });

  const forms: Record<PairLoss, { loss: (m: number) => number; slope: (m: number) => number }> = {
    logistic: { loss: (m) => Math.log1p(Math.exp(-m)), slope: (m) => -1 / (1 + Math.exp(m)) },
    hinge: { loss: (m) => Math.max(0, 1 - m), slope: (m) => (m < 1 ? -1 : 0) },
    linear: { loss: (m) => -m, slope: () => -1 },
  };
  for (const form of ['logistic', 'hinge', 'linear'] as const) {
    for (const nll_weight of [0, 0.7]) {
      test(`${form}, nll_weight ${nll_weight}: loss and gradient are those of the formula`, () =>
        withPairs(async (engine, pairs, margins) => {
          const { loss, slope } = forms[form];
          const found = await engine.gradients({
            objective: { name: 'pair', loss: form, beta: 0.5, nll_weight },
            pairs,
          });
          const real = pairs.map(realRow);
          const nll = await engine.gradients({ objective: { name: 'sft' }, rows: real });
          const mean = margins.reduce((sum, margin) => sum + loss(margin), 0) / margins.length;
          assertClose(found.result.loss, mean + nll_weight * nll.result.loss, 1e-5);
          const scaled = [...nll.gradients].map(
            ([name, values]) => [name, values.map((value) => nll_weight * value)] as const,
          );
          const parts: Tensors[] = [new Map(scaled)];
          for (const [i, pair] of pairs.entries()) {
            const share = (0.5 * slope(margins[i] ?? Number.NaN)) / pairs.length;
            if (share === 0) continue;
            parts.push(await logprobGradient(engine, [realRow(pair)], share));
            parts.push(await logprobGradient(engine, [generatedRow(pair)], -share));
          }
          assertSimilar(found.gradients, total(...parts), 2e-5);
        }));
    }
  }

  test('hinge beyond its margin has no gradient at all', () =>
    withPairs(async (engine, pairs, margins) => {
      const beyond = pairs.filter((_, i) => (margins[i] ?? 0) > 1);
      const { result, gradients } = await engine.gradients({
        objective: { name: 'pair', loss: 'hinge', beta: 0.5, nll_weight: 0 },
        pairs: beyond,
      });
      assert.equal(result.loss, 0);
      for (const [name, values] of gradients) assertClose(Math.max(...values.map(Math.abs)), 0, 0, { what: name });
    }));

  test('what the policy itself wrote teaches nothing on average: E ∇ log π(ỹ) = 0, so the linear loss of fresh ỹ is β times the summed NLL', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 2048 });
      const prompt_ids = [3, 14, 15];
      const sampling = { max_new_tokens: 5, temperature: 1, top_p: 1, top_k: 0, eos_token_ids: [EOS, 5, 9] };
      const normOfMean = async (begin: number, count: number): Promise<number> => {
        const prompts = Array.from({ length: count }, (_, i) => ({ prompt_ids, sample_id: begin + i }));
        const written = await engine.generate(prompts, { ...sampling, seed: 3 });
        const rows = written.map(({ response_ids }, i) => ({ id: `${i}`, prompt_ids, response_ids }));
        const gradient = await logprobGradient(engine, rows, 1 / count);
        return Math.hypot(...[...gradient.values()].map((values) => Math.hypot(...values)));
      };
      // The mean of N draws has 1/√N of one draw's norm when its expectation is 0: 64 times as many, an eighth.
      const [few, many] = [await normOfMean(0, 64), await normOfMean(64, 4096)];
      assert.ok(many < few / 5, `${few} → ${many}`);
    }));
});

suite('an objective of the caller’s own', (test) => {
  const optimizer = { ...trainingOptions.optimizer, eps: 1e-3 }; // a tiny gradient's sign is noise
  const after = (batch: UpdateBatch, micro_batch_tokens = 512): Promise<{ result: UpdateResult; weights: Tensors }> =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining({ ...trainingOptions, optimizer, micro_batch_tokens });
      const result = await engine.update(batch, { learning_rate: 1e-3, max_grad_norm: 0.5 });
      return { result, weights: await engine.readTensors() };
    });
  const assertSame = (found: Awaited<ReturnType<typeof after>>, wanted: Awaited<ReturnType<typeof after>>): void => {
    assertClose(found.result.loss, wanted.result.loss, 1e-6, { relative: 1e-6 });
    assertClose(found.result.grad_norm, wanted.result.grad_norm, 0, { relative: 1e-5 });
    assert.equal(found.result.num_targets, wanted.result.num_targets);
    for (const [name, values] of wanted.weights)
      assertClose(found.weights.get(name) ?? [], values, 1e-6, { what: name });
  };

  for (const micro_batch_tokens of [32, 512]) {
    test(`SFT in TypeScript = native SFT, micro-batches of ${micro_batch_tokens}`, async () => {
      const rows = demonstrations();
      const custom = await after(
        {
          objective: {
            name: 'custom',
            denominator: 'targets',
            compute: (_, logprobs) => ({
              loss: -logprobs.flatMap((values) => [...values]).reduce((sum, value) => sum + value, 0),
              dlogprobs: logprobs.map((values) => values.map(() => -1)),
            }),
          },
          rows,
        },
        micro_batch_tokens,
      );
      assertSame(custom, await after({ objective: { name: 'sft' }, rows }, micro_batch_tokens));
    });
  }

  test('the pair loss in TypeScript = the native one', async () => {
    const pairs = somePairs();
    const beta = 0.5;
    const sumOf = (values: Float32Array | undefined) => values?.reduce((sum, value) => sum + value, 0) ?? Number.NaN;
    const rows = pairs.flatMap((pair) => [realRow(pair), generatedRow(pair)]);
    const custom = await after({
      objective: {
        name: 'custom',
        denominator: 'sequences',
        compute(members, logprobs) {
          assert.equal(members.length, 2 * pairs.length);
          const dlogprobs: Float32Array[] = [];
          let loss = 0;
          for (const [i, { ref_real, ref_generated }] of pairs.entries()) {
            const [real, generated] = [logprobs[2 * i], logprobs[2 * i + 1]];
            const margin = beta * (sumOf(real) - ref_real - (sumOf(generated) - ref_generated));
            // Two sequences a pair: the sums are divided by sequences.
            loss += 2 * Math.log1p(Math.exp(-margin));
            const slope = (-2 * beta) / (1 + Math.exp(margin));
            dlogprobs.push(
              new Float32Array(real?.length ?? 0).fill(slope),
              new Float32Array(generated?.length ?? 0).fill(-slope),
            );
          }
          return { loss, dlogprobs };
        },
      },
      rows,
    });
    assertSame(custom, await after({ objective: { name: 'pair', loss: 'logistic', beta, nll_weight: 0 }, pairs }));
  });
});
