// The plan is what the engine takes, and a limit holds (design.md §4).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Engine } from '../../src/engine/engine.js';
import type { GenerateOptions, PlanSettings, TokenRow } from '../../src/engine/types.js';
import type { DecoderSpec } from '../../src/models/spec.js';
import { goldenModel } from '../golden/golden.js';
import type { ConfigValues } from '../models/tiny_folder.js';
import { adamw, randomIds, randomNumbers, withGolden, withRandom } from '../support/engines.js';
import { assertRejects, suite } from '../support/suite.js';

const MEMORY = 'ERR_GLEANER_MEMORY';
const rmsprop = { name: 'rmsprop', learning_rate: 1e-4, alpha: 0.99, eps: 1e-8, weight_decay: 0 } as const;
const step = { learning_rate: 1e-4, max_grad_norm: 1 };

const models: Record<string, ConfigValues> = {
  'llama, as stories260K': {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: 512,
    hidden_size: 64,
    num_hidden_layers: 5,
    num_attention_heads: 8,
    num_key_value_heads: 4,
    intermediate_size: 172,
    max_position_embeddings: 512,
    tie_word_embeddings: true,
    eos_token_id: 2,
  },
  'neox, as stories-neox': {
    architectures: ['GPTNeoXForCausalLM'],
    model_type: 'gpt_neox',
    vocab_size: 1024,
    hidden_size: 96,
    num_hidden_layers: 4,
    num_attention_heads: 6,
    intermediate_size: 384,
    max_position_embeddings: 512,
    rotary_pct: 0.25,
    eos_token_id: 0,
  },
  'mistral, of an odd shape': {
    architectures: ['MistralForCausalLM'],
    model_type: 'mistral',
    vocab_size: 3001,
    hidden_size: 72,
    num_hidden_layers: 3,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    head_dim: 20,
    intermediate_size: 200,
    max_position_embeddings: 512,
    sliding_window: 50,
    eos_token_id: 2,
  },
};

const MAX_LENGTH = 200;
const MICRO_BATCH = 700;
const generation = { batch_size: 12, max_length: 160 };

function rowsOf(vocab: number): TokenRow[] {
  const random = randomNumbers(51);
  return Array.from({ length: 4 }, (_, i) => ({
    id: `${i}`,
    prompt_ids: randomIds(random, 100, vocab),
    response_ids: randomIds(random, 101, vocab),
  }));
}

/** A round of training: sampling, scoring, steps, the initial weights and the round's, sampling again. Returns the engine's peak. */
async function work(engine: Engine, { training, generation }: PlanSettings): Promise<number> {
  const rows = rowsOf(engine.spec.vocab);
  const options = { max_new_tokens: 60, temperature: 1, top_p: 0.9, top_k: 0, seed: 1, eos_token_ids: [] };
  // The longest takes 160 positions.
  const prompts = Array.from({ length: 13 }, (_, sample_id) => ({
    prompt_ids: sample_id === 7 ? (rows[0]?.prompt_ids ?? []) : [3],
    sample_id,
  }));
  const sample = async () => {
    if (generation) await engine.generate(prompts, { ...options, batch_size: generation.batch_size });
  };
  if (training)
    await engine.prepareTraining({ ...training, optimizer: training.optimizer === 'adamw' ? adamw : rmsprop });
  await sample();
  if (!training) return (await engine.memory()).peak_bytes;
  if (training.keeps_round) await engine.markRound();
  await engine.score(rows);
  const pairs = rows.map((row, i) => ({
    ...row,
    real_ids: row.response_ids,
    generated_ids: [i, i + 1],
    ref_real: -600,
    ref_generated: -10,
  }));
  await engine.update({ objective: { name: 'sft' }, rows }, step);
  await engine.update({ objective: { name: 'pair', loss: 'logistic', beta: 0.1, nll_weight: 0 }, pairs }, step);
  await engine.withInitialWeights(() => engine.score(rows));
  if (training.keeps_round) {
    await engine.withRoundWeights(() => engine.score(rows));
    await sample(); // on-line mode samples while the round's weights are kept
  }
  return (await engine.memory()).peak_bytes;
}

function assertPlanned(peak: number, planned: number): void {
  assert.ok(peak <= planned, `the peak of ${peak} bytes is above the plan's ${planned}`);
  assert.ok(peak >= 0.97 * planned, `the peak of ${peak} bytes is below 97 % of the plan's ${planned}`);
}

suite('the memory plan', (test) => {
  for (const [name, config] of Object.entries(models)) {
    for (const activations of ['keep', 'recompute'] as const) {
      for (const optimizer of ['adamw', 'rmsprop'] as const) {
        const keeps_round = optimizer === 'adamw';
        const settings: PlanSettings = {
          training: { optimizer, activations, micro_batch_tokens: MICRO_BATCH, max_length: MAX_LENGTH, keeps_round },
          generation,
          threads: 2,
        };
        test(`${name}, ${activations}, ${optimizer}: training and generation stay within 3 % below it, and within a limit of just its size`, () =>
          withRandom(config, {}, async (engine) => {
            const plan = Engine.plan(engine.spec, settings);
            const { total_bytes, ...parts } = plan;
            assert.equal(
              Object.values(parts).reduce((sum, bytes) => sum + bytes, 0),
              total_bytes,
            );
            assertPlanned(await work(engine, settings), total_bytes);
            if (optimizer === 'adamw' && activations === 'keep')
              await withRandom(config, { memory_limit_bytes: total_bytes }, (limited) => work(limited, settings));
          }));
      }
    }

    test(`${name}: generation alone, training alone`, async () => {
      const training = {
        optimizer: 'adamw',
        activations: 'keep',
        micro_batch_tokens: MICRO_BATCH,
        max_length: MAX_LENGTH,
      } as const;
      for (const settings of [
        { training: null, generation, threads: 1 },
        { training, generation: null, threads: 1 },
      ]) {
        await withRandom(config, { threads: 1 }, async (engine) => {
          assertPlanned(await work(engine, settings), Engine.plan(engine.spec, settings).total_bytes);
        });
      }
    });
  }

  test('recompute takes less than keep, and each part is counted where it belongs', () =>
    withRandom({ ...models['neox, as stories-neox'], num_hidden_layers: 12 }, {}, async (engine) => {
      const plan = (training: Partial<NonNullable<PlanSettings['training']>>) =>
        Engine.plan(engine.spec, {
          training: {
            optimizer: 'adamw',
            activations: 'keep',
            micro_batch_tokens: MICRO_BATCH,
            max_length: MAX_LENGTH,
            ...training,
          },
          generation: null,
          threads: 2,
        });
      const keep = plan({});
      assert.ok(plan({ activations: 'recompute' }).activations < 0.5 * keep.activations);
      assert.equal(2 * plan({ optimizer: 'rmsprop' }).optimizer, keep.optimizer);
      assert.equal(keep.optimizer, 2 * keep.gradients);
      assert.equal(plan({ keeps_round: true }).weights - keep.weights, keep.gradients);
      const bytes =
        4 * engine.description.tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
      assert.ok(keep.gradients >= bytes && keep.gradients < 1.01 * bytes);
    }));

  test('many threads and short micro-batches: scoring takes no more than the training that was planned', async () => {
    const threads = 24;
    await withRandom({ ...models['llama, as stories260K'], vocab_size: 30_000 }, { threads }, async (engine) => {
      const training = { optimizer: 'adamw', activations: 'keep', micro_batch_tokens: 16, max_length: 16 } as const;
      const plan = Engine.plan(engine.spec, { training, generation: null, threads });
      await engine.prepareTraining({ ...training, optimizer: adamw });
      const rows = [{ id: 'a', prompt_ids: [1, 2, 3], response_ids: [4, 5] }];
      await engine.update({ objective: { name: 'sft' }, rows }, step);
      await engine.score(rows);
      assertPlanned((await engine.memory()).peak_bytes, plan.total_bytes);
    });
  });

  test('sizes that no machine has are refused, not wrapped around', () =>
    withGolden('llama-gqa', {}, async ({ spec }) => {
      const training: NonNullable<PlanSettings['training']> = {
        optimizer: 'adamw',
        activations: 'keep',
        micro_batch_tokens: 512,
        max_length: 256,
      };
      const plan = (planned: DecoderSpec, change: Partial<typeof training>) =>
        Engine.plan(planned, { training: { ...training, ...change }, generation: null, threads: 2 });
      const wide = { heads: 2 ** 16, kv_heads: 2 ** 16, head_dim: 2 ** 24, hidden: 2 ** 24, vocab: 2, intermediate: 2 };
      // heads * head_dim * hidden is 2^64.
      const whole = { ...spec, ...wide, rotary_dim: 0, inverse_frequencies: [] };
      await assertRejects(() => plan(whole, {}), MEMORY, /1099511627776 x 16777216/);
      await assertRejects(
        () =>
          plan({ ...spec, layers: 1000, hidden: 2 ** 20, intermediate: 2 ** 14 }, { micro_batch_tokens: 2 ** 31 - 1 }),
        MEMORY,
      );
      assert.throws(() => plan(spec, { micro_batch_tokens: 2 ** 53 - 1 }), /micro_batch_tokens/);
      assert.throws(() => plan(spec, { max_length: -1 }), /max_length/);
    }));

  test('the process holds what the plan says: resident memory', () =>
    withRandom(models['mistral, of an odd shape'] ?? {}, {}, async (engine) => {
      const resident = () => 1000 * Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
      const training = { optimizer: 'adamw', activations: 'keep', micro_batch_tokens: 800, max_length: 201 } as const;
      const settings: PlanSettings = { training, generation: null, threads: 2 };
      const before = resident() - (await engine.memory()).current_bytes; // weights are there
      await work(engine, settings);
      const grown = resident() - before;
      const plan = Engine.plan(engine.spec, settings).total_bytes;
      // What no plan counts: ids and logprobs, JavaScript's heap. Pages that a step never touches are not resident.
      assert.ok(grown < 1.03 * plan + 3e7 && grown > 0.7 * plan, `${grown} bytes more, planned ${plan}`);
    }));
});

suite('memory_limit_bytes', (test) => {
  const rows = rowsOf(96).map((row) => ({ ...row, response_ids: [...row.response_ids].slice(0, 50) }));
  const training = { optimizer: adamw, activations: 'keep', micro_batch_tokens: 4000, max_length: 200 } as const;
  const sampling: GenerateOptions = {
    max_new_tokens: 100,
    temperature: 1,
    top_p: 1,
    top_k: 0,
    seed: 1,
    eos_token_ids: [],
  };

  test('a model that does not fit is refused as it is loaded', async () => {
    const error = await assertRejects(
      () => Engine.load(goldenModel('llama-gqa'), { memory_limit_bytes: 10_000 }),
      MEMORY,
      /weights/,
    );
    assert.ok('hint' in error && String(error.hint).includes('micro_batch_tokens'));
  });

  test('training that does not fit is refused at every size, and the engine scores and samples as before', () =>
    withGolden('llama-gqa', { threads: 1 }, async (free) => {
      const wanted = await free.score(rows);
      const needed = (await free.memory()).peak_bytes + 200_000;
      const all = Engine.plan(free.spec, {
        training: { ...training, optimizer: 'adamw' },
        generation: null,
        threads: 1,
      });
      let refused = 0;
      // Ends in each of the blocks one after the other: gradients, packed weights, optimiser, activations, workspace.
      for (let limit = needed; limit < all.total_bytes; limit += Math.max(60_000, (limit - needed) >> 1)) {
        await withGolden('llama-gqa', { threads: 1, memory_limit_bytes: limit }, async (engine) => {
          for (let i = 0; i < 2; ++i) {
            await assertRejects(() => engine.prepareTraining(training), MEMORY);
            assert.deepEqual(await engine.score(rows), wanted);
            await assertRejects(() => engine.update({ objective: { name: 'sft' }, rows }, step), 'ERR_GLEANER_USAGE');
            const { current_bytes, peak_bytes } = await engine.memory();
            assert.ok(current_bytes <= needed && peak_bytes <= limit);
          }
          ++refused;
        });
      }
      assert.ok(refused > 5);
    }));

  test('after a refusal a smaller setting works', () =>
    withGolden('llama-gqa', { memory_limit_bytes: 4_000_000, threads: 1 }, async (engine) => {
      await assertRejects(() => engine.prepareTraining(training), MEMORY, /MB memory limit/);
      await engine.prepareTraining({ ...training, micro_batch_tokens: 160 });
      assert.equal((await engine.update({ objective: { name: 'sft' }, rows }, step)).skipped, false);
      // What was prepared goes with a refusal as well: nothing is half there.
      await assertRejects(() => engine.prepareTraining(training), MEMORY);
      await assertRejects(() => engine.update({ objective: { name: 'sft' }, rows }, step), 'ERR_GLEANER_USAGE');
      await engine.prepareTraining({ ...training, micro_batch_tokens: 160 });
      assert.equal((await engine.update({ objective: { name: 'sft' }, rows }, step)).skipped, false);
    }));

  test('sampling and scoring that do not fit are refused, smaller ones work', () =>
    withGolden('llama-gqa', { memory_limit_bytes: 3_500_000, threads: 1 }, async (engine) => {
      const prompts = Array.from({ length: 200 }, (_, sample_id) => ({ prompt_ids: [3, 4], sample_id }));
      const wanted = await engine.generate(prompts.slice(0, 2), sampling);
      await assertRejects(() => engine.generate(prompts, { ...sampling, batch_size: 200 }), MEMORY);
      assert.deepEqual(await engine.generate(prompts.slice(0, 2), sampling), wanted);
      assert.equal((await engine.generate(prompts, { ...sampling, batch_size: 4 })).length, 200);
      await assertRejects(() => engine.markRound().then(() => engine.prepareTraining(training)), MEMORY);
      assert.deepEqual(await engine.generate(prompts.slice(0, 2), sampling), wanted);
    }));
});
