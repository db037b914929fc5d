// What is wrong among the arguments of a command is named by the code that it deserves, whatever kind of wrong it is; the engine computes
// afterwards what it computed before. The native class below takes anything without harm.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { addon } from '../../src/engine/addon.js';
import { Engine } from '../../src/engine/engine.js';
import type { TokenRow, UpdateBatch } from '../../src/engine/types.js';
import { goldenModel } from '../golden/golden.js';
import { adamw, withGolden } from '../support/engines.js';
import { assertRejects, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';
import {
  custom,
  outcome,
  pairObjective,
  pairs,
  prepared,
  preparedEngines,
  prompts,
  rows,
  sampling,
  sft,
  step,
  training,
} from './commands.js';

const DATA = 'ERR_GLEANER_DATA';
const USAGE = 'ERR_GLEANER_USAGE';
const { folder, withPrepared, assertRight } = preparedEngines(temporaryFolder());

suite('arguments', (test) => {
  const notNumbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  const wrongCounts = [...notNumbers, -1, 0.5, 2 ** 53];
  const wrongIds = [...notNumbers, -1, 0.5, 101, 1e9, 2 ** 31, -(2 ** 31), 2 ** 32 + 5];
  const row = (prompt_ids: readonly number[], response_ids: readonly number[]): TokenRow => ({
    id: 'x',
    prompt_ids,
    response_ids,
  });
  /** A value of another type, as a caller without types may give it. */
  const other = <T>(value: unknown): T => {
    const box: { value: T } = JSON.parse('{}');
    Object.assign(box, { value });
    return box.value;
  };

  const cases: [string, (engine: Engine) => (readonly [() => Promise<unknown>, string])[]][] = [
    [
      'token ids',
      (engine) =>
        wrongIds.flatMap((id) => [
          [() => engine.score([...rows, row([3, id], [4])]), DATA] as const,
          [() => engine.score([...rows, row([3], [4, id])]), DATA] as const,
          [() => engine.update({ ...sft, rows: [...rows, row([id], [4])] }, step), DATA] as const,
          [() => engine.update({ ...custom, rows: [...rows, row([3], [id])] }, step), DATA] as const,
          [
            () =>
              engine.gradients({ objective: pairObjective, pairs: pairs.map((p) => ({ ...p, generated_ids: [id] })) }),
            DATA,
          ] as const,
          [() => engine.logits([3, id]), DATA] as const,
          [() => engine.generate([...prompts, { prompt_ids: [id], sample_id: 9 }], sampling), DATA] as const,
        ]),
    ],
    [
      'ids that end a response: those outside the vocabulary never come',
      (engine) =>
        [Number.NaN, 0.5, 2 ** 31].flatMap((id) => [
          [() => engine.generate(prompts, { ...sampling, eos_token_ids: [id] }), DATA] as const,
          [() => engine.generate(prompts, { ...sampling, stop_token_ids: [id] }), DATA] as const,
        ]),
    ],
    [
      'numbers of sampling',
      (engine) => [
        ...[...wrongCounts].flatMap((value) =>
          (['max_new_tokens', 'top_k', 'seed', 'batch_size'] as const)
            .filter((name) => name !== 'seed' || value !== -1)
            .map((name) => [() => engine.generate(prompts, { ...sampling, [name]: value }), USAGE] as const),
        ),
        ...[...notNumbers, -1].map(
          (temperature) => [() => engine.generate(prompts, { ...sampling, temperature }), USAGE] as const,
        ),
        ...[...notNumbers, -0.1, 1.1].map(
          (top_p) => [() => engine.generate(prompts, { ...sampling, top_p }), USAGE] as const,
        ),
        ...wrongCounts.map(
          (sample_id) => [() => engine.generate([{ prompt_ids: [3], sample_id }], sampling), USAGE] as const,
        ),
      ],
    ],
    [
      'numbers of a step and of an objective',
      (engine) => [
        ...[...notNumbers, -1].flatMap((value) => [
          [() => engine.update(sft, { ...step, learning_rate: value }), USAGE] as const,
          [() => engine.update({ objective: { ...pairObjective, nll_weight: value }, pairs }, step), USAGE] as const,
        ]),
        ...[Number.NaN, -1].map(
          (value) => [() => engine.update(sft, { ...step, max_grad_norm: value }), USAGE] as const,
        ),
        ...notNumbers.flatMap((value) => [
          [() => engine.update({ objective: { ...pairObjective, beta: value }, pairs }, step), USAGE] as const,
          [
            () =>
              engine.update({ objective: pairObjective, pairs: pairs.map((p) => ({ ...p, ref_real: value })) }, step),
            'ERR_GLEANER_NUMERIC',
          ] as const,
        ]),
        [() => engine.update({ objective: { ...pairObjective, loss: other('cubic') }, pairs }, step), USAGE],
      ],
    ],
    [
      'numbers of training',
      (engine) => [
        ...[...wrongCounts, 0, 2 ** 31].flatMap((value) => [
          [() => engine.prepareTraining({ ...training, micro_batch_tokens: value }), USAGE] as const,
          [() => engine.prepareTraining({ ...training, max_length: value }), USAGE] as const,
        ]),
        ...[...notNumbers, -1].flatMap((value) => [
          [() => engine.prepareTraining({ ...training, optimizer: { ...adamw, eps: value } }), USAGE] as const,
          [() => engine.prepareTraining({ ...training, optimizer: { ...adamw, weight_decay: value } }), USAGE] as const,
          [() => engine.prepareTraining({ ...training, optimizer: { ...adamw, betas: [0.9, value] } }), USAGE] as const,
          [
            () =>
              engine.prepareTraining({
                ...training,
                optimizer: { name: 'rmsprop', learning_rate: 1, eps: 1e-8, weight_decay: 0, alpha: value },
              }),
            USAGE,
          ] as const,
        ]),
        [() => engine.prepareTraining({ ...training, optimizer: { ...adamw, betas: [1, 0.9] } }), USAGE],
      ],
    ],
    [
      'nothing',
      (engine) => [
        [() => engine.update({ ...sft, rows: [] }, step), DATA],
        [() => engine.update({ ...custom, rows: [] }, step), DATA],
        [() => engine.update({ objective: pairObjective, pairs: [] }, step), DATA],
        [() => engine.gradients({ ...sft, rows: [] }), DATA],
        [() => engine.score([row([], [4])]), DATA],
        [() => engine.generate([{ prompt_ids: [], sample_id: 0 }], sampling), DATA],
        [() => engine.writeTensors(new Map()), USAGE],
        [() => engine.save(''), 'ERR_GLEANER_DISK'],
        [() => engine.saveTrainingState('', { weights: true }), 'ERR_GLEANER_DISK'],
        [() => engine.saveRoundWeights(''), 'ERR_GLEANER_DISK'],
        [() => engine.loadTrainingState(''), 'ERR_GLEANER_MODEL'],
        [() => engine.loadRoundWeights(''), 'ERR_GLEANER_MODEL'],
        [() => engine.loadWeights(''), 'ERR_GLEANER_MODEL'],
      ],
    ],
    [
      'too much',
      (engine) => [
        [
          () =>
            engine.score([
              row(
                [3],
                Array.from({ length: 1_000_000 }, () => 4),
              ),
            ]),
          DATA,
        ],
        [() => engine.logits(Array.from({ length: 1_000_000 }, () => 4)), DATA],
        [() => engine.generate([{ prompt_ids: new Int32Array(1_000_000), sample_id: 0 }], sampling), DATA],
        [() => engine.generate(prompts, { ...sampling, max_new_tokens: 1e9 }), DATA],
        [() => engine.generate(prompts, { ...sampling, max_new_tokens: 2 ** 31 }), DATA],
        [() => engine.update({ ...sft, rows: [row(new Array(1000).fill(3), [4])] }, step), 'ERR_GLEANER_MEMORY'],
        [
          () => engine.writeTensors(new Map(engine.description.tensors.map(({ name }) => [name, new Float32Array(1)]))),
          USAGE,
        ],
      ],
    ],
    [
      'paths',
      (engine) =>
        ['a\0b', `/tmp/${'x'.repeat(5000)}`, '/proc/none/x', '/dev/null/x'].flatMap((path) => [
          [() => engine.save(path), 'ERR_GLEANER_DISK'] as const,
          [() => engine.saveTrainingState(path, { weights: false }), 'ERR_GLEANER_DISK'] as const,
          [() => engine.saveRoundWeights(path), 'ERR_GLEANER_DISK'] as const,
          [() => engine.loadTrainingState(path), 'ERR_GLEANER_MODEL'] as const,
          [() => engine.loadRoundWeights(path), 'ERR_GLEANER_MODEL'] as const,
          [() => engine.loadWeights(path), 'ERR_GLEANER_MODEL'] as const,
        ]),
    ],
    [
      'answers of an objective',
      (engine) =>
        [undefined, null, {}, { loss: 1 }, { dlogprobs: [] }, { loss: 'x', dlogprobs: [] }, Promise.resolve()].map(
          (answer) => {
            const batch: UpdateBatch = {
              objective: { name: 'custom', denominator: 'targets', compute: () => other(answer) },
              rows,
            };
            return [() => engine.update(batch, step), USAGE] as const;
          },
        ),
    ],
  ];
  for (const [name, make] of cases) {
    test(`${name}: refused by the code it deserves`, () =>
      withPrepared(async (engine) => {
        const here = readdirSync('.');
        for (const [work, code] of make(engine)) {
          const found = await outcome(name, work);
          assert.equal(found, code, `${work}`);
        }
        assert.deepEqual(readdirSync('.'), here); // nothing was written to where we are
        await assertRight(engine, name);
      }));
  }

  test('nothing to do is done', () =>
    withPrepared(async (engine) => {
      assert.deepEqual(await engine.score([]), []);
      assert.deepEqual(await engine.scoreTrees([]), []);
      assert.deepEqual(await engine.generate([], sampling), []);
      assert.deepEqual(await engine.logits([]), []);
      assert.equal((await engine.score([row([3], [])]))[0]?.logprob, 0);
      assert.ok((await engine.update(sft, { ...step, max_grad_norm: Number.POSITIVE_INFINITY })).grad_norm > 0);
      await assertRight(engine, 'nothing');
    }));

  test('what an engine is made with', async () => {
    const load = (options: object) => Engine.load(goldenModel('llama-gqa'), options);
    for (const value of [...wrongCounts, 0, 5000])
      await assertRejects(() => load({ threads: value }), USAGE, /threads/);
    for (const value of wrongCounts)
      await assertRejects(() => load({ memory_limit_bytes: value }), USAGE, /memory_limit/);
    for (const seed of notNumbers) await assertRejects(() => load({ seed, init: 'random' }), USAGE, /seed/);
    for (const path of ['', 'a\0b', '/nowhere']) await assertRejects(() => Engine.load(path), 'ERR_GLEANER_MODEL');
    const { spec } = await load({}).then(async (engine) => {
      await engine.close();
      return engine;
    });
    const plan = { training: { ...training, optimizer: 'adamw' as const }, generation: null, threads: 1 };
    for (const value of [...wrongCounts, 0, 2 ** 31]) {
      const planned = async (training: object, generation: { batch_size: number; max_length: number }) =>
        Engine.plan(spec, { ...plan, training: { ...plan.training, ...training }, generation });
      const generation = { batch_size: 1, max_length: 8 };
      await assertRejects(() => planned({ micro_batch_tokens: value }, generation), USAGE, /micro_batch_tokens/);
      await assertRejects(() => planned({ max_length: value }, generation), USAGE, /max_length/);
      await assertRejects(() => planned({}, { ...generation, batch_size: value }), USAGE, /batch_size/);
      await assertRejects(() => planned({}, { ...generation, max_length: value }), USAGE, /max_length/);
    }
    assert.ok(
      Engine.plan(spec, { ...plan, training: { ...plan.training, micro_batch_tokens: 2 ** 31 - 1 } }).total_bytes >
        1e12,
    );
  });

  test('sizes beyond the memory are told, and what was there stays', () =>
    withGolden('llama-gqa', { memory_limit_bytes: 50_000_000 }, async (engine) => {
      await prepared(engine, folder);
      for (const micro_batch_tokens of [1_000_000, 2 ** 31 - 1])
        await assertRejects(
          () => engine.prepareTraining({ ...training, micro_batch_tokens }),
          'ERR_GLEANER_MEMORY',
          /memory limit|not possible/,
        );
      await assertRight(engine, 'a refusal');
    }));
});

suite('the native class itself', (test) => {
  test('arguments of every kind in every place: an error of JavaScript or a promise that settles', async () => {
    const { NativeEngine, planMemory, parameterShapes } = addon();
    const { spec, close } = await withGolden('llama-gqa', {}, async (engine) => ({
      spec: engine.spec,
      close: engine.close,
    }));
    assert.ok(close);
    const native = new NativeEngine({
      spec,
      backend: 'auto',
      isa: 'auto',
      threads: 2,
      memory_limit_bytes: 100_000_000,
    });
    const detached = new Int32Array(4);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    const things: unknown[] = [
      undefined,
      null,
      Number.NaN,
      -1,
      2 ** 31,
      1e300,
      '',
      'x\0y',
      {},
      [],
      [[]],
      [{}],
      Symbol('x'),
      10n,
      () => {},
      new Float32Array(3),
      Int32Array.of(-1, 2 ** 31),
      new Float64Array(1),
      new Uint8Array(9),
      detached,
      new Proxy(
        {},
        {
          get: () => {
            throw new RangeError('mine');
          },
        },
      ),
    ];
    const names = Object.getOwnPropertyNames(NativeEngine.prototype).filter(
      (n) => !['constructor', 'close'].includes(n),
    );
    assert.ok(names.length > 20);
    let refused = 0;
    const call = async (work: () => unknown) => {
      try {
        const answer = work();
        const promise =
          typeof answer === 'object' && answer !== null && 'promise' in answer ? answer.promise : undefined;
        await promise;
      } catch (error) {
        assert.ok(error instanceof Error, String(error));
        refused += 1;
      }
    };
    for (const name of names) {
      const method: unknown = Reflect.get(native, name);
      if (typeof method !== 'function') throw new Error(`${name} is no method`);
      for (const thing of things) {
        for (let place = 0; place < 5; ++place) {
          const args = Array.from({ length: 5 }, (_, i) => (i === place ? thing : {}));
          await call(() => Reflect.apply(method, native, args));
        }
        await call(() => Reflect.apply(method, native, [thing, thing, thing, thing, thing]));
        await call(() => Reflect.apply(method, thing, []));
      }
      await call(() => Reflect.apply(method, native, []));
      await call(() => Reflect.apply(method, Object.create(NativeEngine.prototype), []));
    }
    for (const thing of things) {
      await call(() => Reflect.apply(planMemory, undefined, [thing, thing, thing]));
      await call(() => Reflect.apply(planMemory, undefined, [spec, thing, {}]));
      await call(() => Reflect.apply(parameterShapes, undefined, [thing]));
      await call(() => Reflect.construct(NativeEngine, [thing]));
      await call(() => Reflect.apply(NativeEngine, undefined, [thing]));
      for (const key of Object.keys(spec)) await call(() => parameterShapes({ ...spec, [key]: thing }));
    }
    assert.ok(refused > 1000);
    assert.ok((await native.memory().promise).current_bytes > 0);
    await native.close();
  });
});
