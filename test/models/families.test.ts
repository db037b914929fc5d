// Names, shapes, counts and inverse frequencies of every family and switch, against what transformers made of the same config.json
// (expected.json, written by make_expected.py).

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { readConfigOnly } from '../../src/models/folder.js';
import { countParameters, parameterNames } from '../../src/models/layout.js';
import { sharedData, suite } from '../support/suite.js';
import { describe, llamaConfig, mistralConfig, neoxConfig } from './tiny_folder.js';

const caseSchema = z.object({
  config: z.record(z.string(), z.unknown()),
  num_parameters: z.number(),
  inv_freq: z.array(z.number()),
  norm_eps: z.number(),
  sliding_window: z.number().nullable(),
  max_position_embeddings: z.number(),
  eos_token_id: z.number().nullable(),
  bos_token_id: z.number().nullable(),
  dtype: z.string().nullable(),
  tensors: z.record(z.string(), z.array(z.number())).optional(),
});

const { versions: _, ...cases } = z
  .looseObject({ versions: z.record(z.string(), z.string()) })
  .parse(JSON.parse(await readFile(new URL('expected.json', import.meta.url), 'utf8')));

suite('model families', (test) => {
  for (const [name, value] of Object.entries(cases)) {
    test(`${name}: as transformers has it`, () => {
      const expected = caseSchema.parse(value);
      const found = describe(expected.config);
      if (expected.tensors)
        assert.equal(Object.fromEntries(found.tensors.map(({ name, shape }) => [name, shape])), expected.tensors);
      assert.is(countParameters(found), expected.num_parameters);
      assert.is(found.spec.norm_eps, expected.norm_eps);
      assert.is(found.spec.sliding_window, expected.sliding_window ?? 0);
      assert.is(found.spec.max_positions, expected.max_position_embeddings);
      assert.equal(found.eos_token_ids, expected.eos_token_id === null ? [] : [expected.eos_token_id]);
      assert.is(found.bos_token_id ?? null, expected.bos_token_id);
      assert.is({ F32: 'float32', F16: 'float16', BF16: 'bfloat16' }[found.dtype], expected.dtype ?? 'float32');
      const { inverse_frequencies, rotary_dim } = found.spec;
      assert.is(inverse_frequencies.length, expected.inv_freq.length);
      assert.is(rotary_dim, 2 * expected.inv_freq.length);
      for (const [i, frequency] of inverse_frequencies.entries()) {
        const reference = expected.inv_freq[i] ?? Number.NaN;
        // torch raises the base to a power in fp32: a few units in the last place
        assert.ok(
          Math.abs(frequency - reference) <= 1e-6 * reference,
          `inv_freq[${i}]: ${frequency} against ${reference}`,
        );
      }
    });
  }

  test('parameters stand in native order, k before v and gate before up', () => {
    assert.equal(parameterNames({ ...describe(neoxConfig).spec, layers: 1 }), [
      'embed.weight',
      ...['attention_norm', 'attention.q', 'attention.kv', 'attention.o', 'mlp_norm', 'mlp.up', 'mlp.down'].flatMap(
        (module) => [`layers.0.${module}.weight`, `layers.0.${module}.bias`],
      ),
      'final_norm.weight',
      'final_norm.bias',
      'head.weight',
    ]);
    const { parameters } = describe({ ...llamaConfig, tie_word_embeddings: true });
    assert.equal(
      parameters.slice(0, 8).map(({ name, rows, cols, init }) => [name, rows, cols, init]),
      [
        ['embed.weight', 10, 8, 'normal'],
        ['layers.0.attention_norm.weight', 8, 1, 'ones'],
        ['layers.0.attention.q.weight', 8, 8, 'normal'],
        ['layers.0.attention.kv.weight', 8, 8, 'normal'],
        ['layers.0.attention.o.weight', 8, 8, 'normal'],
        ['layers.0.mlp_norm.weight', 8, 1, 'ones'],
        ['layers.0.mlp.up.weight', 24, 8, 'normal'],
        ['layers.0.mlp.down.weight', 8, 12, 'normal'],
      ],
    );
    assert.is(parameters.at(-1)?.name, 'final_norm.weight');
    const slices = (name: string) =>
      parameters
        .find((parameter) => parameter.name === name)
        ?.slices.map((s) => [s.tensor, s.tensor_row, s.row, s.rows]);
    assert.equal(slices('layers.1.attention.kv.weight'), [
      ['model.layers.1.self_attn.k_proj.weight', 0, 0, 4],
      ['model.layers.1.self_attn.v_proj.weight', 0, 4, 4],
    ]);
    assert.equal(slices('layers.1.mlp.up.weight'), [
      ['model.layers.1.mlp.gate_proj.weight', 0, 0, 12],
      ['model.layers.1.mlp.up_proj.weight', 0, 12, 12],
    ]);
  });

  test('GPT-NeoX keeps q, k and v per head in one tensor', () => {
    const { parameters } = describe(neoxConfig); // 2 heads of 4
    const rows = (name: string) =>
      parameters.find((parameter) => parameter.name === name)?.slices.map((s) => [s.tensor_row, s.row, s.rows]);
    assert.equal(rows('layers.0.attention.q.weight'), [
      [0, 0, 4],
      [12, 4, 4],
    ]);
    assert.equal(rows('layers.0.attention.kv.bias'), [
      [4, 0, 4],
      [16, 4, 4],
      [8, 8, 4],
      [20, 12, 4],
    ]);
  });

  test('switches reach the spec', () => {
    const neox = describe({ ...neoxConfig, use_parallel_residual: false, attention_bias: false }).spec;
    assert.equal(
      [
        neox.norm,
        neox.mlp,
        neox.parallel_residual,
        neox.qkv_bias,
        neox.attention_output_bias,
        neox.mlp_bias,
        neox.tied_head,
      ],
      ['layer_norm', 'gelu', false, false, false, true, false],
    );
    const llama = describe({
      ...llamaConfig,
      attention_bias: true,
      mlp_bias: true,
      tie_word_embeddings: true,
      head_dim: 6,
    }).spec;
    assert.equal(
      [
        llama.norm,
        llama.mlp,
        llama.parallel_residual,
        llama.qkv_bias,
        llama.attention_output_bias,
        llama.mlp_bias,
        llama.tied_head,
        llama.head_dim,
      ],
      ['rms_norm', 'swiglu', false, true, true, true, true, 6],
    );
    assert.is(describe({ ...mistralConfig, num_key_value_heads: null }).spec.kv_heads, 4); // transformers 4; 5 refuses null
  });

  // The published counts of real models, from config.json alone.
  const data = sharedData();
  const published: [string, number][] = [
    ['pythia-14m', 14067712],
    ['pythia-70m', 70426624],
    ['pythia-160m', 162322944],
    ['pythia-410m', 405334016],
    ['pythia-1b', 1011781632],
    ['pythia-1.4b', 1414647808],
    ['mistral-7b-v0.1', 7241732096],
    ['zephyr-7b-beta', 7241732096],
    ['llama-2-7b', 6738415616],
  ];
  if (data !== undefined) {
    for (const [name, count] of published) {
      test(`${name} has the published number of parameters`, async () => {
        const { description } = await readConfigOnly(join(data, 'configs/hf', name));
        assert.is(countParameters(description), count);
      });
    }
  }
});
