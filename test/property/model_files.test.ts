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
  withHeader,
} from '../models/tiny_folder.js';
import { suite } from '../support/suite.js';

type Mutation =
  | { kind: 'flip'; file: number; at: number; bit: number }
  | { kind: 'cut'; file: number; at: number }
  | { kind: 'insert'; file: number; at: number; bytes: Uint8Array }
  | { kind: 'edit'; file: number; at: number; value: unknown }
  | { kind: 'remove'; file: number; at: number }
  | { kind: 'copy'; file: number; at: number; to: number };

const place = fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true });
const file = fc.nat(7);
const deep = JSON.parse(`${'['.repeat(2000)}${']'.repeat(2000)}`);
const strange = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    0.5,
    1,
    2,
    3,
    7,
    1e3,
    1e9,
    2 ** 31,
    2 ** 53,
    1e308,
    -1e308,
    '',
    'x',
    '../x.safetensors',
    '__proto__',
    [],
    {},
    [0],
    [[]],
    { a: 1 },
    deep,
  ),
  fc.integer(),
  fc.double(),
  fc.string(),
  fc.constantFrom(
    'linear',
    'llama3',
    'yarn',
    'float16',
    'F16',
    'BF16',
    'F64',
    'BOOL',
    'gelu',
    'LlamaForCausalLM',
    'mistral',
    'constructor',
  ),
);
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), file, at: place, bit: fc.nat(7) }),
  fc.record({ kind: fc.constant('cut' as const), file, at: place }),
  fc.record({
    kind: fc.constant('insert' as const),
    file,
    at: place,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }),
  }),
  { arbitrary: fc.record({ kind: fc.constant('edit' as const), file, at: place, value: strange }), weight: 3 },
  fc.record({ kind: fc.constant('remove' as const), file, at: place }),
  fc.record({ kind: fc.constant('copy' as const), file, at: place, to: place }),
);

/** The JSON of a file and what follows it; only this part is damaged. */
function split(name: string, content: Buffer): { json: Buffer; data: Buffer; header: boolean } {
  if (!name.endsWith('.safetensors')) return { json: content, data: Buffer.alloc(0), header: false };
  const end = 8 + Number(content.readBigUInt64LE(0));
  return { json: content.subarray(8, end), data: content.subarray(end), header: true };
}

/** Every (holder, key) of a JSON value. */
function places(value: unknown): [Record<string, unknown>, string][] {
  if (typeof value !== 'object' || value === null) return [];
  const holder: Record<string, unknown> = Object.assign(value);
  return Object.entries(holder).flatMap(([key, inner]): [Record<string, unknown>, string][] => [
    [holder, key],
    ...places(inner),
  ]);
}

function mutate(name: string, content: Buffer, change: Mutation): Uint8Array {
  const { json, data, header } = split(name, content);
  switch (change.kind) {
    case 'flip': {
      const bytes = Buffer.from(content);
      const at = Math.floor(change.at * (content.length - data.length));
      bytes[at] = (bytes[at] ?? 0) ^ (1 << change.bit);
      return bytes;
    }
    case 'cut':
      return content.subarray(0, Math.floor(change.at * content.length));
    case 'insert': {
      const at = Math.floor(change.at * (content.length - data.length));
      return Buffer.concat([content.subarray(0, at), change.bytes, content.subarray(at)]);
    }
    case 'edit':
    case 'remove':
    case 'copy': {
      const value: unknown = JSON.parse(json.toString());
      const all = places(value);
      const [holder, key] = all[Math.floor(change.at * all.length)] ?? [];
      if (holder && key !== undefined) {
        if (change.kind === 'edit') holder[key] = change.value;
        else if (change.kind === 'remove') delete holder[key];
        else {
          const [other, otherKey] = all[Math.floor(change.to * all.length)] ?? [];
          if (other && otherKey !== undefined) holder[key] = structuredClone(other[otherKey]);
        }
      }
      return header ? withHeader(value, data) : Buffer.from(JSON.stringify(value));
    }
    default:
      return change satisfies never;
  }
}

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
