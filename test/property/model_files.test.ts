// Damaged model folders: bit flips, cuts, inserted bytes and edited JSON in config.json, generation_config.json, the index and the
// safetensors headers. Each is opened or refused with a GleanerError; what opens points into its files; no buffer exceeds the files.

import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { GleanerError } from '../../src/common/errors.js';
import { openModelFolder, readConfigOnly } from '../../src/models/folder.js';
import { planSave } from '../../src/models/save.js';
import {
  type ConfigValues,
  inFolder,
  llamaConfig,
  mistralConfig,
  modelFiles,
  neoxConfig,
  shardedFiles,
} from '../models/tiny_folder.js';
import { suite } from '../support/suite.js';
import { mutate, mutation } from './damage.js';

/** Runs work and says how large a Buffer it asked for. */
async function largestBuffer(work: () => Promise<void>): Promise<number> {
  const real = Buffer.alloc;
  let largest = 0;
  Buffer.alloc = (size: number, ...rest: []) => {
    largest = Math.max(largest, size);
    return real(size, ...rest);
  };
  try {
    await work();
  } finally {
    Buffer.alloc = real;
  }
  return largest;
}

const generation = { 'generation_config.json': '{"eos_token_id":[1,2]}' };
const rope = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 16,
};
const configs: ConfigValues[] = [
  {
    ...neoxConfig,
    rope_parameters: { rope_type: 'linear', factor: 2, rope_theta: 100, partial_rotary_factor: 0.5 },
    dtype: 'float32',
  },
  {
    ...llamaConfig,
    rope_scaling: rope,
    rope_theta: 10000,
    head_dim: 2,
    torch_dtype: 'float16',
    tie_word_embeddings: true,
  },
  { ...mistralConfig, sliding_window: 8, tie_word_embeddings: false },
];

suite('damaged model folders', (test) => {
  for (const config of configs) {
    for (const [layout, files] of [
      ['one file', modelFiles(config)],
      ['shards', shardedFiles(config)],
    ] as const) {
      test(`${config.model_type}, ${layout}: opened or refused, never worse`, () =>
        inFolder({ ...files, ...generation }, async (path) => {
          const all = Object.entries({ ...files, ...generation }).map(
            ([name, content]) => [name, Buffer.from(content)] as const,
          );
          const outcomes = { opened: 0, refused: 0 };
          const property = fc.asyncProperty(mutation, async (change) => {
            const [name, content] = all[change.file % all.length] ?? [];
            assert.ok(name !== undefined && content !== undefined);
            const damaged = mutate(name, content, change);
            await writeFile(join(path, name), damaged);
            try {
              const largest = await largestBuffer(() => openAndCheck(path, outcomes));
              assert.ok(
                largest <= Math.max(8, damaged.length, ...all.map(([, bytes]) => bytes.length)),
                `a buffer of ${largest} bytes`,
              );
            } finally {
              await writeFile(join(path, name), content);
            }
          });
          await fc.assert(property, { seed: 11, numRuns: 250 });
          // Both must happen, or the damage is no test.
          assert.ok(outcomes.opened >= 10 && outcomes.refused >= 100, JSON.stringify(outcomes));
        }));
    }
  }
});

suite('model folders made to do harm', (test) => {
  const outcomes = { opened: 0, refused: 0 };
  for (const [what, text] of [
    ['very deep lists', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['a very deep value', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    ['very deep objects', '{"a":'.repeat(100_000)],
    ['a key twice', '{"weight_map":{},"weight_map":{}}'],
    ['no number', '{"hidden_size":NaN}'],
    ['no text', Buffer.from([0x7b, 0xff, 0x7d])],
    ['a way out', '{"weight_map":{"a":"../model.safetensors","b":"/etc/passwd.safetensors"}}'],
  ] as const) {
    for (const name of ['config.json', 'model.safetensors.index.json', 'generation_config.json']) {
      test(`${what} in ${name}`, () =>
        inFolder({ ...shardedFiles(mistralConfig), ...generation }, async (path) => {
          const before = outcomes.opened;
          await writeFile(join(path, name), text);
          await openAndCheck(path, outcomes);
          // A key that nothing reads may hold anything; no such file may hold the rest.
          if (name !== 'generation_config.json') assert.is(outcomes.opened, before);
        }));
    }
  }
});

async function openAndCheck(path: string, outcomes: { opened: number; refused: number }): Promise<void> {
  try {
    await readConfigOnly(path);
    const { config, description, sources } = await openModelFolder(path);
    for (const { offset, rows, cols, dtype, file } of sources) {
      assert.ok(offset + rows * cols * (dtype === 'F32' ? 4 : 2) <= (await stat(file)).size);
    }
    assert.type(JSON.parse(planSave(config, description).config_json), 'object');
    outcomes.opened += 1;
  } catch (error) {
    if (!(error instanceof GleanerError)) throw error;
    assert.is(error.code, 'ERR_GLEANER_MODEL');
    assert.ok(error.message.includes(path) && error.message.length < 700, error.message);
    outcomes.refused += 1;
  }
}
