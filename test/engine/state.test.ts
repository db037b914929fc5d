// Training state out and in: what goes on from a file equals what was never stopped, bit by bit; a file that is not the one that was written
// is refused and changes nothing.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Engine, EngineOptions } from '../../src/engine/engine.js';
import type { OptimizerSettings, UpdateBatch, UpdateResult } from '../../src/engine/types.js';
import { parseHeader, writeHeader } from '../../src/models/safetensors.js';
import { goldenModel } from '../golden/golden.js';
import { adamw, assertSameBits, type Tensors, trainingOptions, withGolden } from '../support/engines.js';
import { demonstrations, somePairs } from '../support/pairs.js';
import { assertRejects, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const MODEL = 'ERR_GLEANER_MODEL';
const rmsprop = { name: 'rmsprop', learning_rate: 1e-3, alpha: 0.99, eps: 1e-8, weight_decay: 0.01 } as const;
const rows = demonstrations(12);
const pairs = somePairs();
const objective = { name: 'pair', loss: 'logistic', beta: 0.2, nll_weight: 0.1 } as const;

/** The batch of a step: SFT and pairs in turn, other rows each time. */
function batchOf(step: number): UpdateBatch {
  const turned = <T>(list: readonly T[]) => [...list.slice(step % list.length), ...list.slice(0, step % list.length)];
  return step % 3 === 2
    ? { objective, pairs: turned(pairs).slice(0, 5) }
    : { objective: { name: 'sft' }, rows: turned(rows).slice(0, 6) };
}

async function train(engine: Engine, begin: number, end: number): Promise<UpdateResult[]> {
  const results: UpdateResult[] = [];
  for (let step = begin; step < end; ++step)
    results.push(await engine.update(batchOf(step), { learning_rate: 1e-2 / (1 + step), max_grad_norm: 1 }));
  return results;
}

const withTraining = <T>(
  name: string,
  optimizer: OptimizerSettings,
  options: EngineOptions,
  work: (engine: Engine) => Promise<T>,
): Promise<T> =>
  withGolden(name, options, async (engine) => {
    await engine.prepareTraining({ ...trainingOptions, optimizer, micro_batch_tokens: 64 });
    return work(engine);
  });

/** All that can be seen of an engine: weights, what it computes of them, the round's copy. */
async function seen(engine: Engine) {
  return {
    weights: await engine.readTensors(),
    scores: await engine.score(rows),
    round: await engine.withRoundWeights(() => engine.score(rows)).catch(() => 'none'),
  };
}
function assertSame(found: Awaited<ReturnType<typeof seen>>, wanted: Awaited<ReturnType<typeof seen>>): void {
  assertSameBits(found.weights, wanted.weights);
  assert.deepEqual([found.scores, found.round], [wanted.scores, wanted.round]);
}

suite('training goes on from a file as if it had never stopped', (test) => {
  for (const name of ['llama-gqa', 'llama-tied-linear', 'neox-parallel']) {
    for (const optimizer of [adamw, rmsprop]) {
      test(`${name}, ${optimizer.name}: 7 steps, a file, 13 more are 20 steps, on 1 and 2 threads`, async () => {
        const folder = temporaryFolder();
        const straight = await withTraining(name, optimizer, { threads: 1 }, async (engine) => {
          const results = await train(engine, 0, 20);
          return { results, ...(await seen(engine)) };
        });
        for (const threads of [1, 2]) {
          const path = join(folder, `${threads}`);
          await withTraining(name, optimizer, { threads }, async (engine) => {
            await train(engine, 0, 7);
            await engine.saveTrainingState(join(path, 'state.safetensors'), { weights: false });
            await engine.save(join(path, 'model'));
          });
          await withTraining(name, optimizer, { threads: 3 - threads }, async (engine) => {
            await engine.loadWeights(join(path, 'model'));
            await engine.loadTrainingState(join(path, 'state.safetensors'));
            assert.deepEqual(await train(engine, 7, 20), straight.results.slice(7));
            assertSame(await seen(engine), straight);
          });
        }
      });
    }
  }

  test('a model folder in fp16 and the fp32 weights in the state', async () => {
    const folder = temporaryFolder();
    const straight = await withTraining('llama-gqa', adamw, {}, async (engine) => {
      const results = await train(engine, 0, 9);
      return { results, ...(await seen(engine)) };
    });
    await withTraining('llama-gqa', adamw, {}, async (engine) => {
      await train(engine, 0, 4);
      await engine.save(join(folder, 'model'), { dtype: 'F16' });
      await engine.saveTrainingState(join(folder, 'with'), { weights: true });
      await engine.saveTrainingState(join(folder, 'without'), { weights: false });
    });
    await withTraining('llama-gqa', adamw, {}, async (engine) => {
      await engine.loadWeights(join(folder, 'model'));
      const rounded = await engine.readTensors();
      await engine.loadTrainingState(join(folder, 'without'));
      assertSameBits(await engine.readTensors(), rounded);
      await engine.loadTrainingState(join(folder, 'with'));
      assert.throws(() => assertSameBits(rounded, straight.weights));
      assert.deepEqual(await train(engine, 4, 9), straight.results.slice(4));
      assertSame(await seen(engine), straight);
    });
  });

  test('the model that training began with and the round’s copy', async () => {
    const folder = temporaryFolder();
    const inside = (engine: Engine) => engine.withInitialWeights(() => engine.readTensors());
    const [began, wanted] = await withTraining('llama-gqa', adamw, {}, async (engine): Promise<[Tensors, unknown]> => {
      await train(engine, 0, 2);
      await engine.markRound();
      await train(engine, 2, 4);
      await engine.save(join(folder, 'model'));
      await engine.saveRoundWeights(join(folder, 'round'));
      return [await inside(engine), await seen(engine)];
    });
    await withTraining('llama-gqa', adamw, {}, async (engine) => {
      await engine.loadRoundWeights(join(folder, 'round'));
      await engine.loadWeights(join(folder, 'model'));
      assert.deepEqual(await seen(engine), wanted);
      assertSameBits(await inside(engine), began);
      // Over a copy that is there already, and saved again: the same bytes.
      await engine.markRound();
      await engine.loadRoundWeights(join(folder, 'round'));
      assert.deepEqual(await seen(engine), wanted);
      await engine.saveRoundWeights(join(folder, 'again'));
      assert.ok(readFileSync(join(folder, 'again')).equals(readFileSync(join(folder, 'round'))));
    });
  });
});

suite('the file', (test) => {
  test('is a safetensors file with torch’s names, fp32, and the CRC-32 of all its bytes', () =>
    withTraining('neox-parallel', adamw, {}, async (engine) => {
      await train(engine, 0, 3);
      const path = join(temporaryFolder(), 'deep', 'state');
      await engine.saveTrainingState(path, { weights: true });
      const bytes = readFileSync(path);
      const length = Number(bytes.readBigUInt64LE());
      const { tensors, metadata } = parseHeader(bytes.subarray(8, 8 + length), bytes.length, path);
      assert.equal(tensors.size, 3 * engine.description.parameters.length);
      assert.deepEqual(tensors.get('optimizer.exp_avg.layers.0.attention.q.weight')?.shape, [32, 32]);
      assert.deepEqual(tensors.get('optimizer.exp_avg_sq.final_norm.bias')?.shape, [32]);
      assert.equal(tensors.get('weights.embed.weight')?.dtype, 'F32');
      const { crc32: digits = '', ...said } = Object.fromEntries(metadata);
      assert.deepEqual(said, {
        kind: 'training_state',
        architecture: 'GPTNeoXForCausalLM',
        optimizer: 'adamw',
        num_steps: '3',
        format: 'pt',
      });
      bytes.write('00000000', bytes.indexOf(digits));
      assert.equal(crc32(bytes), Number.parseInt(digits, 16));
      assert.deepEqual(await readdir(join(path, '..')), ['state']);
    }));

  test('takes no second copy of the state', () =>
    withTraining('llama-gqa', adamw, {}, async (engine) => {
      const path = join(temporaryFolder(), 'state');
      await train(engine, 0, 1);
      const before = await engine.memory();
      await engine.saveTrainingState(path, { weights: true });
      await engine.loadTrainingState(path);
      assert.deepEqual(await engine.memory(), before);
    }));
});

suite('files that are refused', (test) => {
  const folder = temporaryFolder();
  const state = join(folder, 'state');
  const round = join(folder, 'round');
  const file = (bytes: Uint8Array) => {
    const path = join(folder, 'spoilt');
    writeFileSync(path, bytes);
    return path;
  };
  /** The same data under a header with other tensors or metadata, its checksum right. */
  function relabelled(
    change: (tensors: { name: string; dtype: string; shape: number[] }[], metadata: Record<string, string>) => void,
  ): string {
    const bytes = readFileSync(state);
    const length = Number(bytes.readBigUInt64LE());
    const { tensors, metadata } = parseHeader(bytes.subarray(8, 8 + length), bytes.length, state);
    const list = [...tensors.values()].map(({ name, dtype, shape }) => ({ name, dtype, shape }));
    const said: Record<string, string> = { ...Object.fromEntries(metadata), crc32: '00000000' };
    change(list, said);
    const { header, data_bytes } = writeHeader(list, said);
    const all = Buffer.concat([header, bytes.subarray(8 + length, 8 + length + data_bytes)]);
    all.write(crc32(all).toString(16).padStart(8, '0'), 8 + '{"__metadata__":{"crc32":"'.length);
    return file(all);
  }

  test.before(() =>
    withTraining('llama-gqa', adamw, {}, async (engine) => {
      await train(engine, 0, 2);
      await engine.markRound();
      await engine.saveTrainingState(state, { weights: true });
      await engine.saveRoundWeights(round);
    }),
  );

  const flipped = (at: (bytes: Buffer) => number) => () => {
    const bytes = readFileSync(state);
    const place = at(bytes);
    bytes[place] = (bytes[place] ?? 0) ^ 1;
    return file(bytes);
  };
  const cases: [string, () => string, RegExp][] = [
    ['missing', () => join(folder, 'nothing'), /nothing: cannot be read/],
    ['a folder', () => folder, /not a regular file/],
    ['empty', () => file(Buffer.alloc(0)), /0 bytes are too few/],
    ['cut in the header', () => file(readFileSync(state).subarray(0, 100)), /the header says/],
    ['cut in the data', () => file(readFileSync(state).subarray(0, -4)), /the file at/],
    ['longer than it was', () => file(Buffer.concat([readFileSync(state), Buffer.alloc(1)])), /belong to nothing/],
    ['one bit of the data changed', flipped((bytes) => bytes.length - 1000), /checksum/],
    ['its first bit changed', flipped((bytes) => 8 + Number(bytes.readBigUInt64LE())), /checksum/],
    ['its last bit changed', flipped((bytes) => bytes.length - 1), /checksum/],
    ['its step count changed', flipped((bytes) => bytes.indexOf('"num_steps":"2') + 13), /checksum/],
    ['its checksum changed', flipped((bytes) => bytes.indexOf('"crc32":"') + 9), /checksum|crc32/],
    ['a model', () => join(goldenModel('llama-gqa'), 'model.safetensors'), /its kind is missing/],
    ['a round’s copy', () => round, /its kind is "round_weights"/],
    ['a parameter missing', () => relabelled((tensors) => tensors.pop()), /which this model has, is missing/],
    [
      'a parameter under another name',
      () =>
        relabelled((tensors) => {
          const first = tensors[0];
          if (first) first.name = 'optimizer.exp_avg.other';
        }),
      /exp_avg\.embed\.weight, which this model has, is missing/,
    ],
    [
      'a parameter too many',
      () =>
        relabelled((tensors) => {
          tensors.push({ name: 'weights.more', dtype: 'F32', shape: [0] });
        }),
      /"weights\.more" does not belong/,
    ],
    [
      'a parameter of another shape',
      () => relabelled((tensors) => tensors[0]?.shape.reverse()),
      /is \[\d+, \d+\] of F32, this model has/,
    ],
    [
      'a parameter of another dtype',
      () =>
        relabelled((tensors) => {
          const first = tensors[0];
          if (first) first.dtype = 'I32';
        }),
      /of I32, this model has/,
    ],
    ...['-1', '1.5', '', 'x', '9007199254740993'].map((count): [string, () => string, RegExp] => [
      `num_steps ${count || 'empty'}`,
      () =>
        relabelled((_, metadata) => {
          if (count === '') delete metadata.num_steps;
          else metadata.num_steps = count;
        }),
      /num_steps is/,
    ]),
    [
      'of another architecture',
      () =>
        relabelled((_, metadata) => {
          metadata.architecture = 'MistralForCausalLM';
        }),
      /of a "MistralForCausalLM", the loaded model is a LlamaForCausalLM/,
    ],
  ];
  for (const [name, make, message] of cases) {
    test(`${name}: named, and nothing is changed`, () =>
      withTraining('llama-gqa', adamw, {}, async (engine) => {
        await train(engine, 0, 1);
        const before = await seen(engine);
        const path = make();
        const error = await assertRejects(() => engine.loadTrainingState(path), MODEL, message);
        assert.ok(error.message.startsWith(path) && error.name === 'GleanerError');
        if (name !== 'a round’s copy') await assertRejects(() => engine.loadRoundWeights(path), MODEL);
        assertSame(await seen(engine), before);
        // Moments and step count as well: the next steps are those of an engine that was never asked.
        const next = await train(engine, 1, 3);
        await withTraining('llama-gqa', adamw, {}, async (other) => {
          await train(other, 0, 1);
          assert.deepEqual(next, await train(other, 1, 3));
        });
      }));
  }

  test('of another optimiser, of another model', async () => {
    await withTraining('llama-gqa', rmsprop, {}, (engine) =>
      assertRejects(() => engine.loadTrainingState(state), MODEL, /optimizer "adamw", .* with rmsprop/),
    );
    await withTraining('llama-tied-linear', adamw, {}, async (engine) => {
      await assertRejects(() => engine.loadTrainingState(state), MODEL, /state: tensor /);
      await assertRejects(() => engine.loadRoundWeights(round), MODEL, /round: tensor /);
    });
    await withTraining('neox-parallel', adamw, {}, (engine) =>
      assertRejects(() => engine.loadTrainingState(state), MODEL, /of a "LlamaForCausalLM"/),
    );
  });

  test('before prepareTraining; a round that was never marked; a folder of another model', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const path = join(folder, 'never');
      await assertRejects(
        () => engine.saveTrainingState(path, { weights: true }),
        'ERR_GLEANER_USAGE',
        /prepareTraining/,
      );
      await assertRejects(() => engine.loadTrainingState(state), 'ERR_GLEANER_USAGE', /prepareTraining/);
      await assertRejects(() => engine.saveRoundWeights(path), 'ERR_GLEANER_USAGE', /no round/);
      await assertRejects(() => engine.withRoundWeights(async () => {}), 'ERR_GLEANER_USAGE', /no round/);
      const before = await engine.readTensors();
      await assertRejects(() => engine.loadWeights(goldenModel('neox-parallel')), MODEL, /architecture is/);
      await assertRejects(() => engine.loadWeights(goldenModel('llama-mha')), MODEL, /llama-mha: \w+ is /);
      await assertRejects(() => engine.loadWeights(join(folder, 'nowhere')), MODEL, /nowhere/);
      assertSameBits(await engine.readTensors(), before);
    }));
});

suite('saving that fails', (test) => {
  test('an abort, a place that cannot be: the file of before stays, nothing is left beside it', () =>
    withTraining('llama-gqa', adamw, {}, async (engine) => {
      const folder = temporaryFolder();
      const path = join(folder, 'state');
      await engine.saveTrainingState(path, { weights: false });
      const before = readFileSync(path);
      await train(engine, 0, 1);
      const signal = AbortSignal.abort();
      await assertRejects(() => engine.saveTrainingState(path, { weights: true, signal }), 'ABORT_ERR');
      await assertRejects(() => engine.loadTrainingState(path, { signal }), 'ABORT_ERR');
      await assertRejects(() => engine.saveTrainingState(join(path, 'below'), { weights: true }), 'ERR_GLEANER_DISK');
      await assertRejects(() => engine.saveTrainingState('/proc/state', { weights: true }), 'ERR_GLEANER_DISK', /proc/);
      assert.ok(readFileSync(path).equals(before));
      assert.deepEqual(await readdir(folder), ['state']);
      const weights = await engine.readTensors();
      await engine.saveTrainingState(path, { weights: true });
      await engine.loadTrainingState(path);
      assertSameBits(await engine.readTensors(), weights);
    }));
});
