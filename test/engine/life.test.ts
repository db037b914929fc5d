// The engine's life: aborts, closing, calls at once, errors of callbacks, bad input. Nothing crashes, every error has its code, and the engine
// works afterwards. Worker threads stand in workers.test.ts.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Engine } from '../../src/engine/engine.js';
import type { GenerateOptions, TokenRow, UpdateBatch } from '../../src/engine/types.js';
import { goldenModel } from '../golden/golden.js';
import {
  adamw,
  assertSameBits,
  randomIds,
  randomNumbers,
  type Tensors,
  trainingOptions,
  withGolden,
  withRandom,
} from '../support/engines.js';
import { assertRejects, suite } from '../support/suite.js';

const ABORT = 'ABORT_ERR';
const CLOSED = 'ERR_GLEANER_CLOSED';
const random = randomNumbers(21);
const rows: TokenRow[] = Array.from({ length: 12 }, (_, i) => ({
  id: `${i}`,
  prompt_ids: randomIds(random, 8),
  response_ids: randomIds(random, 24),
}));
const sft: UpdateBatch = { objective: { name: 'sft' }, rows };
const step = { learning_rate: 1e-3, max_grad_norm: 1 };
const sampling: GenerateOptions = {
  max_new_tokens: 8,
  temperature: 1,
  top_p: 1,
  top_k: 0,
  seed: 1,
  eos_token_ids: [],
};
const prompts = rows.map(({ prompt_ids }, sample_id) => ({ prompt_ids, sample_id }));

/** Large enough that no command below is done before the test has said its word. */
const slowConfig = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 512,
  hidden_size: 128,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 256,
  max_position_embeddings: 4096,
  eos_token_id: 2,
};
const manyRows: TokenRow[] = Array.from({ length: 200 }, (_, i) => ({
  id: `${i}`,
  prompt_ids: randomIds(random, 8),
  response_ids: randomIds(random, 100),
}));
const longSampling = { ...sampling, max_new_tokens: 4000 };
const withSlow = <T>(work: (engine: Engine) => Promise<T>): Promise<T> =>
  withRandom(slowConfig, {}, async (engine) => {
    await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 128 });
    return work(engine);
  });

/** One update of a fresh engine: what the same update must give after whatever happened. */
async function assertStillRight(engine: Engine, before: Tensors): Promise<void> {
  assertSameBits(await engine.readTensors(), before);
  for (const [, values] of await engine.readTensors(true)) assert.ok(values.every((value) => value === 0));
  const [again, twice] = [await engine.gradients(sft), await engine.gradients(sft)];
  assertSameBits(again.gradients, twice.gradients);
  assert.equal((await engine.score(rows)).length, rows.length);
  assert.equal((await engine.generate(prompts, sampling)).length, prompts.length);
}

async function abortIn(milliseconds: number, work: (signal: AbortSignal) => Promise<unknown>): Promise<Error> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Error('enough')), milliseconds);
  const error = await assertRejects(() => work(controller.signal), ABORT);
  clearTimeout(timer);
  return error;
}

suite('abort', (test) => {
  const works: [string, (engine: Engine, signal: AbortSignal) => Promise<unknown>][] = [
    ['update', (engine, signal) => engine.update({ ...sft, rows: manyRows }, { ...step, signal })],
    [
      'update with an objective of the caller’s own',
      (engine, signal) =>
        engine.update(
          {
            objective: {
              name: 'custom',
              denominator: 'targets',
              compute: (_, logprobs) => ({ loss: 1, dlogprobs: logprobs.map((values) => values.map(() => -1)) }),
            },
            rows: manyRows,
          },
          { ...step, signal },
        ),
    ],
    ['score', (engine, signal) => engine.score([...manyRows, ...manyRows], { signal })],
    ['generate', (engine, signal) => engine.generate(prompts, { ...longSampling, signal })],
  ];
  for (const [name, work] of works) {
    test(`${name} ends with AbortError and its reason, soon, and leaves weights and gradients as they were`, () =>
      withSlow(async (engine) => {
        const before = await engine.readTensors();
        const begun = performance.now();
        const error = await abortIn(20, (signal) => work(engine, signal));
        assert.ok(performance.now() - begun < 2000);
        assert.equal(error.name, 'AbortError');
        assert.ok(error.cause instanceof Error && error.cause.message === 'enough');
        await assertStillRight(engine, before);
      }));

    test(`${name}: a signal that is aborted already keeps it from starting`, () =>
      withSlow(async (engine) => {
        const before = await engine.readTensors();
        await assertRejects(() => work(engine, AbortSignal.abort()), ABORT);
        await assertStillRight(engine, before);
      }));
  }

  test('an aborted one-row update does not slip through', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const before = await engine.readTensors();
      for (let i = 0; i < 20; ++i) {
        const one = { ...sft, rows: rows.slice(0, 1) };
        await assertRejects(() => engine.update(one, { ...step, signal: AbortSignal.abort() }), ABORT);
      }
      assertSameBits(await engine.readTensors(), before);
    }));

  test('an abort after the end does nothing', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const controller = new AbortController();
      await engine.score(rows, { signal: controller.signal });
      const next = engine.score(rows);
      controller.abort();
      assert.equal((await next).length, rows.length);
    }));
});

suite('close', (test) => {
  test('running and waiting work ends with AbortError; a second close is fine; later calls are ERR_GLEANER_CLOSED', () =>
    withSlow(async (engine) => {
      const running = assertRejects(() => engine.generate(prompts, longSampling), ABORT);
      const waiting = assertRejects(() => engine.score(rows), ABORT);
      await new Promise((resolve) => setTimeout(resolve, 10));
      await Promise.all([engine.close(), engine.close(), running, waiting]);
      await engine.close();
      const calls = [
        () => engine.score(rows),
        () => engine.generate(prompts, sampling),
        () => engine.update(sft, step),
        () => engine.gradients(sft),
        () => engine.logits([1, 2]),
        () => engine.readTensors(),
        () => engine.prepareTraining(trainingOptions),
        () => engine.resetOptimizer(),
        () => engine.markRound(),
        () => engine.withRoundWeights(async () => {}),
        () => engine.withInitialWeights(async () => {}),
        () => engine.memory(),
        () => engine.save('/nowhere'),
      ];
      for (const call of calls.slice(0, -1)) {
        const error = await assertRejects(call, CLOSED);
        assert.equal(error.name, 'GleanerError');
      }
    }));

  test('close amid an update with an objective of the caller’s own', () =>
    withSlow(async (engine) => {
      const compute = (_: unknown, logprobs: readonly Float32Array[]) => {
        void engine.close();
        return { loss: 0, dlogprobs: logprobs };
      };
      const batch: UpdateBatch = { objective: { name: 'custom', denominator: 'targets', compute }, rows };
      await assertRejects(() => engine.update(batch, step), CLOSED);
    }));

  test('it frees the model', async () => {
    // Of address space, because most of it is never touched: a gigabyte of activations each time.
    const load = () =>
      withRandom(slowConfig, {}, async (engine) => {
        await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 40_000 });
        assert.ok((await engine.memory()).current_bytes > 1e9);
      });
    const mapped = () => Number(/VmSize:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1000;
    await load();
    const before = mapped();
    for (let i = 0; i < 3; ++i) await load();
    assert.ok(mapped() - before < 5e8, `${mapped() - before} bytes more`);
  });
});

suite('calls at once', (test) => {
  test('a second update is refused while one runs, and the first is not disturbed', () =>
    withSlow(async (engine) => {
      const first = engine.update({ ...sft, rows: manyRows.slice(0, 20) }, step);
      await assertRejects(() => engine.update(sft, step), 'ERR_GLEANER_BUSY');
      await assertRejects(() => engine.gradients(sft), 'ERR_GLEANER_BUSY');
      assert.equal((await first).skipped, false);
      await engine.update(sft, step);
    }));

  test('scores and samples beside an update give what they give alone', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const [scored, written] = [await engine.score(rows), await engine.generate(prompts, sampling)];
      const still = { ...step, learning_rate: 0 };
      const [, again, rewritten] = await Promise.all([
        engine.update(sft, still),
        engine.score(rows),
        engine.generate(prompts, sampling),
      ]);
      assert.deepEqual(again, scored);
      assert.deepEqual(rewritten, written);
    }));

  test('a score beside a custom update waits for it, and does not take its activations', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 64 });
      const scores: Promise<unknown>[] = [];
      const compute = (_: unknown, logprobs: readonly Float32Array[]) => {
        scores.push(engine.score(rows), engine.memory());
        return { loss: 0, dlogprobs: logprobs.map((values) => values.map(() => -1)) };
      };
      const batch: UpdateBatch = { objective: { name: 'custom', denominator: 'targets', compute }, rows };
      scores.push(engine.score(rows));
      const result = await engine.update(batch, step);
      assert.ok(result.micro_batches > 3 && !result.skipped);
      assert.ok((await Promise.all(scores)).length > 6);
    }));

  test('no training while other weights are in place', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      await engine.markRound();
      const refused = async () => {
        await assertRejects(() => engine.update(sft, step), 'ERR_GLEANER_BUSY');
        await assertRejects(() => engine.prepareTraining(trainingOptions), 'ERR_GLEANER_BUSY');
        await assertRejects(() => engine.markRound(), 'ERR_GLEANER_BUSY');
      };
      await engine.withInitialWeights(refused);
      await engine.withRoundWeights(refused);
      await engine.update(sft, step);
    }));

  test('what work throws inside withInitialWeights and withRoundWeights reaches the caller, and the weights are back', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      await engine.markRound();
      await engine.update(sft, step);
      const before = await engine.readTensors();
      const fail = () => Promise.reject(new RangeError('mine'));
      await assert.rejects(() => engine.withInitialWeights(fail), RangeError);
      await assert.rejects(() => engine.withRoundWeights(fail), RangeError);
      await assertStillRight(engine, before);
    }));
});

suite('errors of callbacks', (test) => {
  test('an objective that throws ends the update with its error, no gradient left', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 64 });
      const before = await engine.readTensors();
      let calls = 0;
      const compute = (_: unknown, logprobs: readonly Float32Array[]) => {
        if (++calls === 3) throw new RangeError('mine');
        return { loss: 0, dlogprobs: logprobs.map((values) => values.map(() => 1)) };
      };
      const batch: UpdateBatch = { objective: { name: 'custom', denominator: 'targets', compute }, rows };
      await assert.rejects(() => engine.update(batch, step), RangeError);
      await assertStillRight(engine, before);
    }));

  test('an objective that answers too few dlogprobs is named', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const before = await engine.readTensors();
      const compute = () => ({ loss: 0, dlogprobs: [Float32Array.of(1)] });
      const batch: UpdateBatch = { objective: { name: 'custom', denominator: 'targets', compute }, rows };
      await assertRejects(() => engine.update(batch, step), 'ERR_GLEANER_USAGE', /row 0: .* 1 dlogprobs for 24 tokens/);
      await assertStillRight(engine, before);
    }));

  test('an onToken that throws ends generate with its error', () =>
    withSlow(async (engine) => {
      let seen = 0;
      const onToken = () => {
        if (++seen === 30) throw new RangeError('mine');
        return undefined;
      };
      await assert.rejects(() => engine.generate(prompts, { ...longSampling, onToken }), RangeError);
      assert.equal(seen, 30);
      assert.equal((await engine.generate(prompts, sampling)).length, prompts.length);
    }));

  for (const thrown of ['a text', 42, undefined, null, Symbol('mine'), { an: 'object' }]) {
    test(`so does one that throws ${String(thrown)}, early or with the last token`, () =>
      withGolden('llama-gqa', {}, async (engine) => {
        for (const place of [1, sampling.max_new_tokens]) {
          let seen = 0;
          const onToken = () => {
            if (++seen === place) throw thrown;
            return undefined;
          };
          const ended = await engine.generate(prompts.slice(0, 1), { ...sampling, onToken }).then(
            () => 'as if nothing had happened',
            (error: unknown) => ({ error }),
          );
          assert.deepEqual(ended, { error: thrown });
        }
      }));
  }
});

suite('numbers that are not finite', (test) => {
  test('NaN in a weight: the step is skipped, weights and moments stay; sampling says so', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const good = await engine.readTensors();
      const bad = new Map(good);
      const embedding = Float32Array.from(good.get('model.embed_tokens.weight') ?? []);
      embedding.fill(Number.NaN, 0, 96 * engine.spec.hidden);
      bad.set('model.embed_tokens.weight', embedding);
      await engine.writeTensors(bad);
      const result = await engine.update(sft, step);
      assert.ok(result.skipped && Number.isNaN(result.loss));
      assertSameBits(await engine.readTensors(), bad);
      await assertRejects(() => engine.generate(prompts, sampling), 'ERR_GLEANER_NUMERIC');
      // The skipped step left no trace: the next good one equals a fresh engine's first.
      await engine.writeTensors(good);
      await engine.update(sft, step);
      const after = await engine.readTensors();
      await withGolden('llama-gqa', {}, async (fresh) => {
        await fresh.prepareTraining(trainingOptions);
        await fresh.update(sft, step);
        assertSameBits(after, await fresh.readTensors());
      });
    }));

  test('an objective whose loss or gradient is not finite: skipped', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const before = await engine.readTensors();
      for (const [loss, slope] of [
        [Number.NaN, 1],
        [1, Number.POSITIVE_INFINITY],
      ] as const) {
        const compute = (_: unknown, logprobs: readonly Float32Array[]) => ({
          loss,
          dlogprobs: logprobs.map((values) => values.map(() => slope)),
        });
        const batch: UpdateBatch = { objective: { name: 'custom', denominator: 'targets', compute }, rows };
        assert.equal((await engine.update(batch, step)).skipped, true);
      }
      await assertStillRight(engine, before);
    }));

  test('a reference that is not finite, a learning rate that is not: refused', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const before = await engine.readTensors();
      const objective = { name: 'pair', loss: 'logistic', beta: 0.1, nll_weight: 0 } as const;
      const pair = {
        id: 'a',
        prompt_ids: [5],
        real_ids: [6],
        generated_ids: [7],
        ref_real: Number.NaN,
        ref_generated: 0,
      };
      await assertRejects(() => engine.update({ objective, pairs: [pair] }, step), 'ERR_GLEANER_NUMERIC');
      for (const learning_rate of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
        await assertRejects(() => engine.update(sft, { ...step, learning_rate }), 'ERR_GLEANER_USAGE', /learning_rate/);
      }
      await assertRejects(
        () => engine.update(sft, { ...step, max_grad_norm: -1 }),
        'ERR_GLEANER_USAGE',
        /max_grad_norm/,
      );
      await assertStillRight(engine, before);
    }));
});

suite('bad input', (test) => {
  const DATA = 'ERR_GLEANER_DATA';
  const USAGE = 'ERR_GLEANER_USAGE';
  const badIds = [-1, 101, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, -(2 ** 40), 1.5, Number.NaN, Number.POSITIVE_INFINITY];

  test('token ids outside the vocabulary, in every place that takes ids', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const before = await engine.readTensors();
      for (const id of badIds) {
        const bad = [
          { id: 'a', prompt_ids: [3, id], response_ids: [4] },
          { id: 'a', prompt_ids: [3], response_ids: [id, 4] },
          { id: 'a', prompt_ids: [3], response_ids: [4, id] },
        ];
        for (const row of bad) {
          await assertRejects(() => engine.score([row]), DATA, /token id/);
          await assertRejects(() => engine.update({ ...sft, rows: [...rows, row] }, step), DATA, /token id/);
        }
        await assertRejects(() => engine.generate([{ prompt_ids: [3, id], sample_id: 0 }], sampling), DATA, /token id/);
        await assertRejects(() => engine.logits([id]), DATA, /token id/);
      }
      await assertStillRight(engine, before);
    }));

  test('nothing to do, empty prompts, sequences beyond the model’s positions', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await assertRejects(() => engine.update(sft, step), USAGE, /prepareTraining/);
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 512 });
      assert.deepEqual(await engine.score([]), []);
      assert.deepEqual(await engine.generate([], sampling), []);
      assert.deepEqual(await engine.logits([]), []);
      await assertRejects(() => engine.update({ ...sft, rows: [] }, step), DATA);
      const objective = { name: 'pair', loss: 'logistic', beta: 0.1, nll_weight: 0 } as const;
      await assertRejects(() => engine.update({ objective, pairs: [] }, step), DATA);
      await assertRejects(
        () => engine.update({ ...sft, rows: [{ id: 'a', prompt_ids: [3], response_ids: [] }] }, step),
        DATA,
      );
      await assertRejects(() => engine.score([{ id: 'a', prompt_ids: [], response_ids: [4] }]), DATA, /row a/);
      await assertRejects(() => engine.generate([{ prompt_ids: [], sample_id: 0 }], sampling), DATA, /prompt 0/);
      const long = Array.from({ length: 257 }, () => 3);
      await assertRejects(() => engine.score([{ id: 'a', prompt_ids: long, response_ids: [4] }]), DATA, /257/);
      await assertRejects(() => engine.generate([{ prompt_ids: long, sample_id: 0 }], sampling), DATA, /257/);
      const tooLong = {
        id: 'long',
        prompt_ids: long.slice(0, 200),
        response_ids: Array.from({ length: 400 }, () => 3),
      };
      await assertRejects(() => engine.update({ ...sft, rows: [tooLong] }, step), 'ERR_GLEANER_MEMORY', /row long/);
      assert.equal((await engine.score([{ id: 'a', prompt_ids: [3], response_ids: [] }]))[0]?.logprob, 0);
    }));

  test('settings out of range are named', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const wrong: Partial<GenerateOptions>[] = [
        { max_new_tokens: -1 },
        { max_new_tokens: 1.5 },
        { max_new_tokens: Number.NaN },
        { temperature: -1 },
        { temperature: Number.NaN },
        { temperature: Number.POSITIVE_INFINITY },
        { top_p: -0.1 },
        { top_p: 1.1 },
        { top_p: Number.NaN },
        { top_k: -1 },
        { top_k: 2 ** 40 },
        { seed: 0.5 },
        { batch_size: 0 },
        { batch_size: 1.5 },
      ];
      for (const options of wrong) {
        const [name] = Object.keys(options);
        await assertRejects(
          () => engine.generate(prompts, { ...sampling, ...options }),
          USAGE,
          new RegExp(`${name} is`),
        );
      }
      await assertRejects(() => engine.generate([{ prompt_ids: [3], sample_id: -1 }], sampling), USAGE, /sample_id/);
      const before = await engine.memory();
      await assertRejects(() => engine.generate(prompts, { ...sampling, max_new_tokens: 1e9 }), DATA, /positions/);
      assert.deepEqual(await engine.memory(), before); // nothing was set aside for what cannot be
      const none = await engine.generate(prompts, { ...sampling, max_new_tokens: 0 });
      assert.ok(
        none.every(({ response_ids, finish_reason }) => response_ids.length === 0 && finish_reason === 'length'),
      );
    }));

  test('training settings and tensors of other sizes', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      for (const wrong of [{ micro_batch_tokens: 0 }, { micro_batch_tokens: 1.5 }, { max_length: -3 }]) {
        const error = await assertRejects(() => engine.prepareTraining({ ...trainingOptions, ...wrong }), USAGE);
        assert.equal(error.name, 'GleanerError');
      }
      await assertRejects(() => engine.writeTensors(new Map()), USAGE);
      await assertRejects(() => engine.resetOptimizer(), USAGE, /prepareTraining/);
      await engine.prepareTraining({ ...trainingOptions, optimizer: adamw });
      assert.equal((await engine.update(sft, step)).skipped, false);
    }));

  test('engine options', async () => {
    const load = (options: object) => Engine.load(goldenModel('llama-gqa'), options);
    for (const threads of [0, -1, 1.5, Number.NaN, 5000])
      await assertRejects(() => load({ threads }), USAGE, /threads/);
    await assertRejects(() => load({ memory_limit_bytes: -1 }), USAGE, /memory_limit_bytes/);
    await assertRejects(() => load({ isa: 'mmx' }), USAGE);
    await assertRejects(() => load({ backend: 'cuda' }), USAGE);
  });
});
