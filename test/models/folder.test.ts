// Model folders: where every parameter lies, one file or shards, tied heads, old buffers, and each fault by file and tensor.

import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import * as assert from 'uvu/assert';
import { openModelFolder, readConfigOnly } from '../../src/models/folder.js';
import { sharedData, suite } from '../support/suite.js';
import { refused } from './errors.js';
import {
  type ConfigValues,
  describe,
  f32Tensor,
  inFolder,
  llamaConfig,
  mistralConfig,
  modelFiles,
  neoxConfig,
  safetensorsBytes,
  shardedFiles,
  type TestTensor,
  tensorsOf,
} from './tiny_folder.js';

/** First value of every row of a parameter, read at the offsets that sources give (fp32 files). */
async function firstColumn(path: string, parameter: string): Promise<number[]> {
  const { sources, description } = await openModelFolder(path);
  const rows: number[] = [];
  for (const source of sources.filter((candidate) => candidate.parameter === parameter)) {
    assert.is(source.row, rows.length);
    const bytes = await readFile(source.file);
    for (let row = 0; row < source.rows; row += 1) rows.push(bytes.readFloatLE(source.offset + 4 * row * source.cols));
  }
  assert.is(rows.length, description.parameters.find(({ name }) => name === parameter)?.rows);
  return rows;
}

const broken = (config: ConfigValues, change: (tensors: TestTensor[]) => TestTensor[]) =>
  modelFiles(config, change(tensorsOf(describe(config))));
const without = (name: string) => (tensors: TestTensor[]) => tensors.filter((tensor) => tensor.name !== name);

suite('model folders', (test) => {
  test('the sources of a fused GPT-NeoX tensor are its interleaved rows', () =>
    inFolder(modelFiles(neoxConfig), async (path) => {
      const t = describe(neoxConfig).tensors.findIndex(
        ({ name }) => name === 'gpt_neox.layers.1.attention.query_key_value.weight',
      );
      const rows = (numbers: number[]) => numbers.map((row) => 1000 * t + 8 * row);
      assert.equal(await firstColumn(path, 'layers.1.attention.q.weight'), rows([0, 1, 2, 3, 12, 13, 14, 15]));
      assert.equal(
        await firstColumn(path, 'layers.1.attention.kv.weight'),
        rows([4, 5, 6, 7, 16, 17, 18, 19, 8, 9, 10, 11, 20, 21, 22, 23]),
      );
    }));

  test('every parameter of every family finds all of its rows, in one file and in shards', async () => {
    for (const config of [
      neoxConfig,
      llamaConfig,
      mistralConfig,
      { ...llamaConfig, attention_bias: true, tie_word_embeddings: true },
    ]) {
      for (const files of [modelFiles(config), shardedFiles(config)]) {
        await inFolder(files, async (path) => {
          const { description } = await openModelFolder(path);
          for (const { name, slices } of description.parameters) {
            const expected = slices.flatMap(({ tensor, tensor_row, rows }) => {
              const t = description.tensors.findIndex((candidate) => candidate.name === tensor);
              const cols = description.tensors[t]?.shape[1] ?? 1;
              return Array.from({ length: rows }, (_, row) => 1000 * t + cols * (tensor_row + row));
            });
            assert.equal(await firstColumn(path, name), expected);
          }
        });
      }
    }
  });

  test('fp16 and bf16 tensors, mixed in one file, keep their dtype and two bytes a value', () => {
    const tensors = tensorsOf(describe(llamaConfig)).map((tensor, index) =>
      index % 2 === 0
        ? tensor
        : { ...tensor, dtype: index % 4 === 1 ? 'F16' : 'BF16', data: tensor.data.subarray(tensor.data.length / 2) },
    );
    return inFolder(modelFiles(llamaConfig, tensors), async (path) => {
      const { sources } = await openModelFolder(path);
      assert.equal(new Set(sources.map((source) => source.dtype)), new Set(['F32', 'F16', 'BF16']));
      const bytes = sources.reduce((sum, { rows, cols, dtype }) => sum + rows * cols * (dtype === 'F32' ? 4 : 2), 0);
      assert.is(
        bytes,
        tensors.reduce((sum, tensor) => sum + tensor.data.length, 0),
      );
    });
  });

  test('old buffers are ignored by name, whatever their dtype', () => {
    const buffers: TestTensor[] = [
      { name: 'gpt_neox.layers.0.attention.bias', dtype: 'BOOL', shape: [1, 1, 2, 2], data: new Uint8Array(4) },
      f32Tensor('gpt_neox.layers.0.attention.masked_bias', [], new Float32Array(1)),
      f32Tensor('gpt_neox.layers.0.attention.rotary_emb.inv_freq', [1], new Float32Array(1)),
    ];
    const files = broken(neoxConfig, (tensors) => [...tensors, ...buffers]);
    return inFolder(files, async (path) =>
      assert.is((await openModelFolder(path)).description.architecture, 'GPTNeoXForCausalLM'),
    );
  });

  test('the head of GPT-NeoX is found under the name of transformers 5 too', () => {
    const files = broken(neoxConfig, (tensors) =>
      tensors.map((tensor) => (tensor.name === 'embed_out.weight' ? { ...tensor, name: 'lm_head.weight' } : tensor)),
    );
    return inFolder(files, async (path) =>
      assert.is((await openModelFolder(path)).sources.at(-1)?.parameter, 'head.weight'),
    );
  });

  test('a tied head may stand in the file when it equals the embedding, or in its place', async () => {
    const config = { ...llamaConfig, tie_word_embeddings: true };
    const embed = tensorsOf(describe(config)).find(({ name }) => name === 'model.embed_tokens.weight');
    assert.ok(embed);
    const head = { ...embed, name: 'lm_head.weight' };
    await inFolder(
      broken(config, (tensors) => [...tensors, head]),
      async (path) => assert.is((await openModelFolder(path)).sources[0]?.parameter, 'embed.weight'),
    );
    await inFolder(
      broken(config, (tensors) => [...without(embed.name)(tensors), head]),
      async (path) => {
        const bytes = await readFile(join(path, 'model.safetensors'));
        const source = (await openModelFolder(path)).sources[0];
        assert.ok(source);
        assert.equal(bytes.subarray(source.offset, source.offset + embed.data.length), Buffer.from(embed.data));
      },
    );
    const other = Buffer.from(embed.data);
    other[other.length - 1] = 1;
    await inFolder(
      broken(config, (tensors) => [...tensors, { ...head, data: other }]),
      (path) =>
        refused(
          () => openModelFolder(path),
          'lm_head.weight',
          'differs from model.embed_tokens.weight',
          'tie_word_embeddings',
        ),
    );
    await inFolder(
      broken(config, (tensors) => [...tensors, { ...head, shape: [8, 10] }]),
      (path) => refused(() => openModelFolder(path), 'lm_head.weight', '[8, 10]'),
    );
  });

  test('missing, unknown and misshapen tensors are named with their file', async () => {
    const norm = 'model.layers.1.input_layernorm.weight';
    const cases: [Record<string, string | Uint8Array>, string[]][] = [
      [broken(llamaConfig, without(norm)), ['1 tensor of LlamaForCausalLM missing', norm]],
      [broken(llamaConfig, without('lm_head.weight')), ['lm_head.weight']],
      [
        broken(llamaConfig, (t) => [...t, f32Tensor('model.extra', [1], new Float32Array(1))]),
        ['model.safetensors: 1 tensor', 'does not have', 'model.extra'],
      ],
      [
        broken(llamaConfig, (t) => t.map((x) => (x.name === norm ? { ...x, shape: [4, 2] } : x))),
        ['model.safetensors', norm, '[4, 2]', '[8]'],
      ],
      [broken(llamaConfig, (t) => t.map((x) => (x.name === norm ? { ...x, dtype: 'I32' } : x))), [norm, 'dtype I32']],
      // The file of another config: everything has a wrong shape or too many layers.
      [
        { ...modelFiles(llamaConfig), 'config.json': JSON.stringify({ ...llamaConfig, hidden_size: 16 }) },
        ['shape', 'config.json asks for'],
      ],
      [
        { ...modelFiles(llamaConfig), 'config.json': JSON.stringify({ ...llamaConfig, num_hidden_layers: 1 }) },
        ['9 tensors', 'layers.1'],
      ],
      [
        { ...modelFiles(llamaConfig), 'config.json': JSON.stringify({ ...llamaConfig, num_hidden_layers: 3 }) },
        ['9 tensors', 'missing', 'layers.2'],
      ],
      [modelFiles(neoxConfig, tensorsOf(describe(llamaConfig))), ['GPTNeoXForCausalLM missing']],
    ];
    for (const [files, parts] of cases) await inFolder(files, (path) => refused(() => openModelFolder(path), ...parts));
  });

  test('an index must tell the same as its shards, and stay in the folder', async () => {
    const files = shardedFiles(llamaConfig);
    const [one, two] = Object.keys(files).filter((name) => name.startsWith('model-'));
    assert.ok(one && two);
    const index = 'model.safetensors.index.json';
    const map: Record<string, string> = JSON.parse(String(files[index])).weight_map;
    const [first = ''] = Object.keys(map);
    const withMap = (weight_map: unknown) => ({ ...files, [index]: JSON.stringify({ weight_map }) });
    const { [first]: _, ...fewer } = map;
    const { [one]: __, ...lost } = files;
    const cases: [Record<string, string | Uint8Array>, string[]][] = [
      [withMap({ ...map, ghost: one }), [index, 'tensor ghost is not in', one]],
      [withMap(fewer), [`${one}: tensor ${first} is not in`, index]],
      [withMap({ ...map, [first]: two }), [first, one, two]],
      [withMap({ ...map, [first]: 'absent.safetensors' }), ['absent.safetensors', 'not in the folder']],
      [withMap({ ...map, [first]: '../model.safetensors' }), [first, '../model.safetensors']],
      [withMap({ ...map, [first]: '/etc/passwd.safetensors' }), ['/etc/passwd']],
      [withMap({ ...map, [first]: 'sub\\x.safetensors' }), ['sub']],
      [withMap({ ...map, [first]: 7 }), [first, '7']],
      [withMap({ ...map, [first]: `${one}\0` }), [first]],
      [withMap(undefined), [index, 'weight_map is missing']],
      [withMap([]), ['weight_map']],
      [{ ...files, [index]: '{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}' }, [index, 'twice']],
      [lost, [one, 'not in the folder']],
      [{ ...files, [two]: files[one] ?? '' }, [two, 'belongs to']],
    ];
    for (const [content, parts] of cases)
      await inFolder(content, (path) => refused(() => openModelFolder(path), ...parts));
  });

  test('a folder that is no model says what is missing', () =>
    inFolder({ 'config.json': JSON.stringify(llamaConfig), 'pytorch_model.bin': 'x' }, async (path) => {
      await refused(() => openModelFolder(path), 'model.safetensors', 'pytorch_model.bin');
      await refused(() => openModelFolder(join(path, 'absent')), 'absent');
      await refused(() => openModelFolder(join(path, 'config.json')), 'not a folder');
      await mkdir(join(path, 'empty'));
      await refused(() => openModelFolder(join(path, 'empty')), 'no config.json');
      await mkdir(join(path, 'empty', 'config.json'));
      await refused(() => openModelFolder(join(path, 'empty')), 'no config.json');
      for (const [text, part] of [
        ['', 'not JSON'],
        ['[]', 'object'],
        ['{"a":1,"a":2}', 'twice'],
        ['\ufeff{}', 'not JSON'],
      ] as const) {
        await writeFile(join(path, 'config.json'), text);
        await refused(() => openModelFolder(path), 'config.json', part);
      }
    }));

  test('a config.json alone is enough for a description, by its folder or its own path', () =>
    inFolder(
      {
        'config.json': JSON.stringify(llamaConfig),
        'tokenizer.json': '{}',
        'generation_config.json': '{"eos_token_id":[1,3]}',
      },
      async (path) => {
        const folder = await readConfigOnly(path);
        assert.equal(folder.description.eos_token_ids, [1, 3]);
        assert.equal(
          folder.files.map((file) => basename(file)),
          ['generation_config.json', 'tokenizer.json'],
        );
        const file = await readConfigOnly(join(path, 'config.json'));
        assert.equal(file.description, { ...folder.description, eos_token_ids: [2] });
      },
    ));

  test('generation_config.json decides what ends a text', async () => {
    for (const [text, expected] of [
      ['{"eos_token_id":5}', [5]],
      ['{"eos_token_id":null}', [2]],
      ['{}', [2]],
    ] as const) {
      await inFolder({ ...modelFiles(llamaConfig), 'generation_config.json': text }, async (path) =>
        assert.equal((await openModelFolder(path)).description.eos_token_ids, expected),
      );
    }
    for (const [text, part] of [
      ['{"eos_token_id":"x"}', '"x"'],
      ['{"eos_token_id":[11]}', '11'],
      ['{', 'not JSON'],
    ] as const) {
      await inFolder({ ...modelFiles(llamaConfig), 'generation_config.json': text }, (path) =>
        refused(() => openModelFolder(path), 'generation_config.json', part),
      );
    }
  });

  test('a link to the weights is followed, as caches of downloads have them', () =>
    inFolder(
      { 'config.json': JSON.stringify(llamaConfig), blob: safetensorsBytes(tensorsOf(describe(llamaConfig))) },
      async (path) => {
        await symlink('blob', join(path, 'model.safetensors'));
        assert.is((await openModelFolder(path)).sources[0]?.file, join(path, 'model.safetensors'));
      },
    ));

  const shared = sharedData();
  if (shared !== undefined) {
    test('stories260K ends its texts with <s> or </s>', async () => {
      const folder = await openModelFolder(join(shared, 'models/stories260K'));
      assert.equal(folder.description.eos_token_ids, [1, 2]);
      assert.ok(folder.tokenizer?.endsWith('tokenizer.json'));
      assert.is(folder.sources.length, 1 + 5 * 9 + 1);
    });
    test('a reward model is not a language model', () =>
      refused(() => openModelFolder(join(shared, 'models/stories-reward')), 'LlamaForSequenceClassification'));
  }
});
