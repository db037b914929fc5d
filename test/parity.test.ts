// gleaner against transformers, model by model: test/golden holds what torch computed (README.md there says how).
// Tolerances: fp32 over a whole model, 1e-4. transformers' own fp32 is 1e-5 (logits) and 2e-6 (gradients) away from the golden fp64.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Engine } from '../src/engine/engine.js';
import type { UpdateBatch } from '../src/engine/types.js';
import { readConfig } from '../src/models/config.js';
import { describeModel } from '../src/models/families.js';
import { defaultFrequencies, linearFrequencies, llama3Frequencies } from '../src/models/rope.js';
import {
  goldenFolder,
  goldenModel,
  goldenModels,
  goldenTensors,
  maxDifference,
  modelsWithOldConfig,
  readGolden,
  readRopes,
  readStories,
  readTensors,
  relativeDifference,
} from './golden/golden.js';
import { sharedData, suite } from './support/suite.js';

const LOGITS = 1e-4; // max abs
const GRADIENTS = 1e-4; // norm of the difference over the norm, of each tensor
const training = {
  optimizer: { name: 'adamw', learning_rate: 1e-3, betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0 },
  activations: 'keep',
  micro_batch_tokens: 128,
  max_length: 64,
} as const;
const greedy = { temperature: 0, top_p: 1, top_k: 0, seed: 0, eos_token_ids: [] } as const;

async function withEngine<T>(path: string, work: (engine: Engine) => Promise<T>): Promise<T> {
  const engine = await Engine.load(path, { threads: 2 });
  try {
    return await work(engine);
  } finally {
    await engine.close();
  }
}

async function withFolder<T>(work: (path: string) => Promise<T>): Promise<T> {
  const path = await mkdtemp(join(tmpdir(), 'gleaner-parity-'));
  try {
    return await work(path);
  } finally {
    await rm(path, { recursive: true });
  }
}

function assertClose(found: number, wanted: number, tolerance: number, what: string): void {
  const difference = Math.abs(found - wanted);
  assert.ok(difference <= tolerance, `${what}: ${found}, wanted ${wanted}`);
}

async function assertLogits(engine: Engine, ids: readonly number[], wanted: Float32Array): Promise<void> {
  const rows = await engine.logits(ids);
  assert.equal(rows.length, ids.length);
  const difference = maxDifference(
    rows.flatMap((row) => [...row]),
    wanted,
  );
  assert.ok(difference <= LOGITS, `logits of ${ids.length} tokens differ by ${difference}`);
}

function assertGradients(found: ReadonlyMap<string, Float32Array>, wanted: ReadonlyMap<string, Float32Array>): void {
  assert.deepEqual([...found.keys()].sort(), [...wanted.keys()].sort());
  for (const [tensor, values] of wanted) {
    const difference = relativeDifference(found.get(tensor) ?? [], values);
    assert.ok(difference <= GRADIENTS, `gradient of ${tensor} differs by ${difference} of its norm`);
  }
}

function norm(tensors: ReadonlyMap<string, Float32Array>): number {
  let sum = 0;
  for (const values of tensors.values()) for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

const sftBatch = (rows: readonly { prompt_ids: number[]; response_ids: number[] }[]): UpdateBatch => ({
  objective: { name: 'sft' },
  rows: rows.map((row, i) => ({ id: `${i}`, ...row })),
});

for (const name of goldenModels) {
  const golden = readGolden(name);

  suite(`parity: ${name}`, (test) => {
    test('logits', () =>
      withEngine(goldenModel(name), async (engine) => {
        const tensors = goldenTensors(name, 'logits.');
        assert.equal(tensors.size, golden.sequences.length);
        for (const [i, ids] of golden.sequences.entries())
          await assertLogits(engine, ids, tensors.get(`${i}`) ?? new Float32Array());
      }));

    test('log-probabilities of responses', () =>
      withEngine(goldenModel(name), async (engine) => {
        const scored = await engine.score(golden.logprobs.map((row, i) => ({ id: `${i}`, ...row })));
        assert.equal(scored.length, golden.logprobs.length);
        for (const [i, wanted] of golden.logprobs.entries()) {
          const found = scored[i];
          const difference = maxDifference(found?.token_logprobs ?? [], wanted.token_logprobs);
          assert.ok(difference <= LOGITS, `row ${i} differs by ${difference}`);
          assertClose(found?.logprob ?? Number.NaN, wanted.logprob, 5e-4, `sum of row ${i}`); // up to 30 tokens
        }
      }));

    for (const activations of ['keep', 'recompute'] as const) {
      test(`SFT: loss and every gradient, activations: ${activations}`, () =>
        withEngine(goldenModel(name), async (engine) => {
          await engine.prepareTraining({ ...training, activations });
          const { result, gradients } = await engine.gradients(sftBatch(golden.sft.rows));
          assertClose(result.loss, golden.sft.loss, 1e-5, 'loss');
          assert.equal(result.num_targets, golden.sft.num_targets);
          assertGradients(gradients, goldenTensors(name, 'sft.gradient/'));
        }));
    }

    test('pair losses: loss, log-probabilities, margins, gradients', () =>
      withEngine(goldenModel(name), async (engine) => {
        await engine.prepareTraining(training);
        const pairs = golden.pairs.rows.map((pair, i) => ({ id: `${i}`, ...pair }));
        for (const [key, wanted] of Object.entries(golden.pairs.losses)) {
          const { form: loss, beta, nll_weight } = wanted;
          const { result, gradients } = await engine.gradients({
            objective: { name: 'pair', loss, beta, nll_weight },
            pairs,
          });
          assertClose(result.loss, wanted.loss, 1e-4, `${key} loss`);
          assert.ok(result.pairs);
          for (const [i, pair] of pairs.entries()) {
            const real = beta * ((result.pairs.real_logprobs[i] ?? Number.NaN) - pair.ref_real);
            const generated = beta * ((result.pairs.generated_logprobs[i] ?? Number.NaN) - pair.ref_generated);
            assertClose(real, wanted.rewards_real[i] ?? Number.NaN, 1e-4, `${key} reward of the real side ${i}`);
            assertClose(
              generated,
              wanted.rewards_generated[i] ?? Number.NaN,
              1e-4,
              `${key} reward of the generated side ${i}`,
            );
            assertClose(real - generated, wanted.margins[i] ?? Number.NaN, 1e-4, `${key} margin ${i}`);
          }
          assertClose(norm(gradients) / wanted.grad_norm, 1, GRADIENTS, `${key} gradient norm`);
          if (wanted.gradients) assertGradients(gradients, goldenTensors(name, `${key}.gradient/`));
        }
      }));

    test('greedy text', () =>
      withEngine(goldenModel(name), async (engine) => {
        const rows = golden.greedy.rows;
        const prompts = rows.map(({ prompt_ids }, sample_id) => ({ prompt_ids, sample_id }));
        const found = await engine.generate(prompts, { ...greedy, max_new_tokens: 64 });
        assert.deepEqual(
          found.map(({ response_ids }) => [...response_ids]),
          rows.map(({ response_ids }) => response_ids),
        );
      }));

    test('a saved folder has the same weights, byte for byte, and the same config', () =>
      withFolder(async (folder) => {
        await withEngine(goldenModel(name), (engine) => engine.save(folder));
        const [saved, original] = await Promise.all(
          [folder, goldenModel(name)].map((path) => readFile(join(path, 'model.safetensors'))),
        );
        assert.ok(saved && original && saved.equals(original), 'model.safetensors differs');
        const [config, wanted] = await Promise.all(
          [folder, goldenModel(name)].map((path) => readFile(join(path, 'config.json'), 'utf8')),
        );
        assert.deepEqual(JSON.parse(config ?? ''), JSON.parse(wanted ?? ''));
      }));
  });
}

suite('parity: spellings of one model', (test) => {
  for (const name of modelsWithOldConfig) {
    test(`${name}: config.json of transformers 4 and of 5 give the same model and bit-identical logits`, () =>
      withFolder(async (folder) => {
        await cp(join(goldenModel(name), 'config_v4.json'), join(folder, 'config.json'));
        await cp(join(goldenModel(name), 'model.safetensors'), join(folder, 'model.safetensors'));
        assert.deepEqual(describeModel(await readConfig(folder)), describeModel(await readConfig(goldenModel(name))));
        const ids = readGolden(name).sequences[2] ?? [];
        const [v4, v5] = [
          await withEngine(folder, (engine) => engine.logits(ids)),
          await withEngine(goldenModel(name), (engine) => engine.logits(ids)),
        ];
        assert.deepEqual(v4, v5);
      }));
  }

  for (const dtype of ['bf16', 'fp16'] as const) {
    test(`${dtype} weights`, () =>
      withEngine(goldenModel(`llama-gqa-${dtype}`), (engine) =>
        assertLogits(
          engine,
          readGolden('llama-gqa').sequences[1] ?? [],
          goldenTensors('llama-gqa', `${dtype}.`).get('logits.1') ?? new Float32Array(),
        ),
      ));

    test(`${dtype} weights are saved as they came`, () =>
      withFolder(async (folder) => {
        const source = goldenModel(`llama-gqa-${dtype}`);
        await withEngine(source, (engine) => engine.save(folder, { dtype: engine.description.dtype }));
        const [saved, original] = await Promise.all(
          [folder, source].map((path) => readFile(join(path, 'model.safetensors'))),
        );
        assert.ok(saved && original && saved.equals(original), 'model.safetensors differs');
      }));
  }

  test('a sharded folder is the same model, and is saved as one file', () =>
    withFolder(async (folder) => {
      await withEngine(goldenModel('llama-gqa-sharded'), (engine) => engine.save(folder));
      const [saved, original] = await Promise.all(
        [folder, goldenModel('llama-gqa')].map((path) => readFile(join(path, 'model.safetensors'))),
      );
      assert.ok(saved && original && saved.equals(original), 'model.safetensors differs');
    }));
});

suite('parity: rotary frequencies', (test) => {
  const { positions, cases } = readRopes();
  for (const [name, { rope_parameters, head_dim, inv_freq, cos, sin }] of Object.entries(cases)) {
    test(name, () => {
      const { rope_type: type, rope_theta: theta, partial_rotary_factor: part = 1 } = rope_parameters;
      const number = (key: string): number => Number(rope_parameters[key]);
      const plain = defaultFrequencies(Number(theta), head_dim * Number(part));
      const found =
        type === 'linear'
          ? linearFrequencies(plain, number('factor'))
          : type === 'llama3'
            ? llama3Frequencies(plain, {
                factor: number('factor'),
                low_freq_factor: number('low_freq_factor'),
                high_freq_factor: number('high_freq_factor'),
                original_max_position_embeddings: number('original_max_position_embeddings'),
              })
            : plain;
      assert.equal(found.length, inv_freq.length);
      for (const [i, frequency] of found.entries()) {
        assertClose(frequency / (inv_freq[i] ?? Number.NaN), 1, 1e-13, `frequency ${i}`);
        for (const [p, position] of positions.entries()) {
          assertClose(Math.cos(position * frequency), cos[p]?.[i] ?? Number.NaN, 1e-9, `cosine ${i} at ${position}`);
          assertClose(Math.sin(position * frequency), sin[p]?.[i] ?? Number.NaN, 1e-9, `sine ${i} at ${position}`);
        }
      }
    });
  }
});

// Real models do not lie in this repository; their golden numbers do.
const data = sharedData();
for (const name of data === undefined ? [] : (['stories260K', 'stories-neox'] as const)) {
  suite(`parity: ${name}`, (test) => {
    const golden = readStories(name);
    const path = join(data ?? '', 'models', name);

    test('log-probabilities of stories', () =>
      withEngine(path, async (engine) => {
        const scored = await engine.score(
          golden.logprobs.map(({ id, prompt_ids, response_ids }) => ({ id: `${id}`, prompt_ids, response_ids })),
        );
        for (const [i, wanted] of golden.logprobs.entries()) {
          const difference = maxDifference(scored[i]?.token_logprobs ?? [], wanted.token_logprobs);
          assert.ok(difference <= LOGITS, `story ${wanted.id} differs by ${difference}`);
        }
      }));

    test('SFT: loss and the norm of every gradient', () =>
      withEngine(path, async (engine) => {
        await engine.prepareTraining({ ...training, micro_batch_tokens: 512, max_length: 512 });
        const { result, gradients } = await engine.gradients(sftBatch(golden.logprobs));
        assertClose(result.loss, golden.sft.loss, 1e-5, 'loss');
        const { tensor_grad_norms } = golden.sft;
        assert.deepEqual([...gradients.keys()].sort(), Object.keys(tensor_grad_norms).sort());
        for (const [tensor, values] of gradients) {
          assertClose(
            norm(new Map([[tensor, values]])) / (tensor_grad_norms[tensor] ?? Number.NaN),
            1,
            GRADIENTS,
            `norm of ${tensor}`,
          );
        }
      }));

    test('greedy text', () =>
      withEngine(path, async (engine) => {
        for (const { prompt_ids, response_ids } of golden.greedy) {
          const [found] = await engine.generate([{ prompt_ids, sample_id: 0 }], { ...greedy, max_new_tokens: 64 });
          assert.deepEqual([...(found?.response_ids ?? [])], response_ids);
        }
      }));
  });
}

// Slow: GLEANER_PYTHON names a python with the pinned transformers.
const python = process.env.GLEANER_PYTHON;
suite('parity: a saved folder in transformers', (test) => {
  for (const name of python === undefined ? [] : goldenModels) {
    test(`${name}: untouched and after a step of training`, () =>
      withFolder(async (folder) => {
        const [first, second] = [join(folder, 'untouched'), join(folder, 'trained')];
        const golden = readGolden(name);
        const ids = golden.sequences[2] ?? [];
        const logits = await withEngine(goldenModel(name), async (engine) => {
          await engine.save(first);
          await engine.prepareTraining(training);
          await engine.update(sftBatch(golden.sft.rows), { learning_rate: 0.01, max_grad_norm: 1 });
          await engine.save(second);
          return engine.logits(ids);
        });
        const check = promisify(execFile);
        await check(python ?? '', [`${goldenFolder}make/check_saved.py`, first, name]);
        const file = join(folder, 'logits.safetensors');
        await check(python ?? '', [`${goldenFolder}make/check_saved.py`, second, name, '--write', file]);
        const difference = maxDifference(
          logits.flatMap((row) => [...row]),
          readTensors(file).get('logits.2') ?? [],
        );
        assert.ok(difference <= LOGITS, `logits after training differ by ${difference}`);
      }));
  }
});
