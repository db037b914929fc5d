// What the methods do where every probability can be computed: one state and a few actions, or short sequences over a small vocabulary.

import assert from 'node:assert/strict';
import { irft } from '../../src/methods/irft.js';
import { sft } from '../../src/methods/sft.js';
import { methodContext } from '../support/method_context.js';
import { suite } from '../support/suite.js';
import { type Table, TabularTrainer } from '../support/tabular_trainer.js';

const PROMPT = [9];

function softmax(logits: readonly number[]): number[] {
  const highest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - highest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

/** Rows of one action each, in shares exactly as given. */
function demonstrationsOf(counts: readonly number[]) {
  return counts.flatMap((count, action) =>
    Array.from({ length: count }, (_, i) => ({ id: `${action}-${i}`, prompt_ids: PROMPT, response_ids: [action] })),
  );
}

suite('one state, three actions, one demonstrated', (test) => {
  test('SFT puts all mass on it', async () => {
    const engine = new TabularTrainer({ vocab: 3 });
    await sft.run(methodContext(engine, demonstrationsOf([8]), { train: { batch_size: 8, epochs: 5000 } }), {});
    assert.ok((engine.probabilities(PROMPT)[0] ?? 0) > 0.999);
  });

  // Table 1's setting: the reward lies in [0, R], π_φ ∝ π_ref·exp(r/β); ascent on E_D[log π_φ], whose gradient is (1/β)(E_D ∇r − E_π ∇r).
  for (const [bound, beta] of [
    [1, 1],
    [1, 0.5],
    [2, 0.7],
  ] as const) {
    test(`inverse RL with a reward in [0, ${bound}] and β = ${beta} stops at e^(R/β) / (e^(R/β) + 2)`, () => {
      const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
      const h = [0, 0, 0]; // r = R·σ(h)
      for (let step = 0; step < 200_000; ++step) {
        const policy = softmax(h.map((value) => (bound * sigmoid(value)) / beta)); // the inner problem's closed form, π_ref uniform
        for (const [action, value] of h.entries()) {
          const slope = bound * sigmoid(value) * (1 - sigmoid(value));
          h[action] = value + 0.5 * (1 / beta) * ((action === 0 ? 1 : 0) - (policy[action] ?? 0)) * slope;
        }
      }
      const policy = softmax(h.map((value) => (bound * sigmoid(value)) / beta));
      const weight = Math.exp(bound / beta);
      assert.ok(Math.abs((policy[0] ?? 0) - weight / (weight + 2)) < 1e-3, `${policy}`);
      assert.ok(Math.abs((policy[1] ?? 0) - 1 / (weight + 2)) < 1e-3);
      assert.ok(Math.abs((policy[2] ?? 0) - 1 / (weight + 2)) < 1e-3);
    });
  }

  test('its gradient is that of the demonstrations’ log-likelihood under π_φ, by finite differences', () => {
    const beta = 0.7;
    const rewards = [0.3, -0.2, 0.9];
    const reference = softmax([0.1, 0.5, -0.3]);
    const policyOf = (r: readonly number[]) =>
      softmax(r.map((value, action) => value / beta + Math.log(reference[action] ?? 0)));
    const logLikelihood = (r: readonly number[]) => Math.log(policyOf(r)[0] ?? 0);
    for (const action of rewards.keys()) {
      const moved = (by: number) => rewards.map((value, other) => value + (other === action ? by : 0));
      const numeric = (logLikelihood(moved(1e-5)) - logLikelihood(moved(-1e-5))) / 2e-5;
      const formula = (1 / beta) * ((action === 0 ? 1 : 0) - (policyOf(rewards)[action] ?? 0));
      assert.ok(Math.abs(numeric - formula) < 1e-8);
    }
  });
});

suite('where a round of IRFT goes', (test) => {
  for (const beta of [1, 0.5]) {
    // π_t(p_D/π_t)^(1/β), normalised; sampled ỹ stand for π_t, so the answer has their noise.
    test(`β = ${beta}: with the logistic loss to π_t·(p_D/π_t)^(1/β)`, async () => {
      const start = [0.4, 0, -0.4];
      const policy = softmax(start);
      const demonstrated = [0.25, 0.35, 0.4];
      const engine = new TabularTrainer({ vocab: 3, start: () => start });
      const rows = demonstrationsOf(demonstrated.map((share) => share * 20_000));
      const context = methodContext(engine, rows, {
        train: {
          batch_size: rows.length,
          epochs: 40,
          // Its curvature is at most β²/4, so steps below 8/β² are stable. Every step sees all pairs: their order is nothing.
          optimizer: { name: 'rmsprop', learning_rate: 6 / beta ** 2, alpha: 0.99, eps: 1e-8, weight_decay: 0 },
        },
        shuffle: false,
      });
      await irft.run(context, { ...irft.options.parse({}), rounds: 1, beta });
      const weights = policy.map((share, action) => share * ((demonstrated[action] ?? 0) / share) ** (1 / beta));
      const sum = weights.reduce((total, weight) => total + weight, 0);
      const reached = engine.probabilities(PROMPT);
      // 20 000 draws: a share's standard error is below 0.0035; the power 1/β and the ratio enlarge it.
      for (const [action, weight] of weights.entries())
        assert.ok(
          Math.abs((reached[action] ?? 0) - weight / sum) < 0.02 / beta,
          `${reached}, not ${weights.map((w) => w / sum)}`,
        );
    });
  }
});

suite('linear loss, fresh ỹ at every step', (test) => {
  for (const way of ['rounds of one step', 'on-line'] as const) {
    test(`${way}: the expected gradient is β times that of the summed NLL`, async () => {
      const vocab = 4;
      const beta = 0.3;
      const steps = 3000;
      const start = (context: string) =>
        Array.from({ length: vocab }, (_, token) => Math.sin(context.length + 2 * token));
      const engine = new TabularTrainer({ vocab, start });
      // Long enough that ỹ is hardly ever y: such a pair would be dropped.
      const rows = [
        { id: 'a', prompt_ids: [100], response_ids: [3, 0, 0, 2, 1, 3] },
        { id: 'b', prompt_ids: [101], response_ids: [2, 2, 0, 1, 1, 0] },
      ];
      const gradients: Table[] = [];
      const update = engine.update.bind(engine);
      engine.update = async (batch, step) => {
        const result = await update(batch, step);
        gradients.push(engine.lastGradient);
        return result;
      };
      const context = methodContext(engine, rows, {
        generation: { max_new_tokens: 6, temperature: 1, top_p: 1, top_k: 0 },
        // Rate 0: the weights stay, so that the steps are draws of one gradient.
        train: {
          batch_size: 2,
          epochs: steps,
          optimizer: { name: 'rmsprop', learning_rate: 0, alpha: 0.99, eps: 1e-8, weight_decay: 0 },
        },
      });
      const settings = { ...irft.options.parse({}), beta, loss: 'linear', restart: 'never', chunks: 'all' } as const;
      await irft.run(
        context,
        way === 'on-line'
          ? { ...settings, rounds: 1, generation_rate: 1 }
          : { ...settings, rounds: steps, steps_per_round: 1 },
      );
      assert.equal(gradients.length, steps);

      const expected: Table = new Map();
      for (const row of rows) engine.addGradient(expected, row.prompt_ids, row.response_ids, -beta / rows.length);
      let outside = 0;
      let compared = 0;
      for (const [key, values] of expected) {
        for (const [token, value] of values.entries()) {
          const draws = gradients.map((gradient) => gradient.get(key)?.[token] ?? 0);
          const mean = draws.reduce((sum, draw) => sum + draw, 0) / steps;
          const variance = draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / (steps - 1);
          const z = Math.abs(mean - value) / Math.sqrt(variance / steps + 1e-18);
          ++compared;
          if (z > 1.96) ++outside;
          assert.ok(z < 4.5, `${key} token ${token}: ${mean}, not ${value} (z ${z})`); // 48 values: chance of one beyond 4.5 is 3e-4
        }
      }
      assert.equal(compared, 48);
      assert.ok(outside <= 8, `${outside} of 48 outside their 95 % interval`); // P(more than 8 of 48 at 5 %) < 0.1 %, were they independent
    });
  }

  test('with the logistic loss it is not: the test can fail', async () => {
    const engine = new TabularTrainer({ vocab: 3 });
    const rows = demonstrationsOf([1]);
    const context = methodContext(engine, rows, {
      generation: { max_new_tokens: 1, temperature: 1, top_p: 1, top_k: 0 },
      train: { batch_size: 1 },
    });
    await irft.run(context, { ...irft.options.parse({}), rounds: 1, beta: 1 });
    const gradient = engine.lastGradient.get('9 | ')?.[0] ?? 0;
    assert.ok(Math.abs(gradient) < 0.75); // half of what the linear loss gives for the same pair, which is at most 1
  });
});
