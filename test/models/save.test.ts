// What is saved: the config.json that came, byte for byte but for its dtype, and the tensors in the order of the header.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { describeModel } from '../../src/models/families.js';
import { openModelFolder } from '../../src/models/folder.js';
import { parseJsonObject } from '../../src/models/json.js';
import { parseHeader } from '../../src/models/safetensors.js';
import { planSave } from '../../src/models/save.js';
import { sharedData, suite } from '../support/suite.js';
import { type ConfigValues, configOf, inFolder, llamaConfig, modelFiles, neoxConfig } from './tiny_folder.js';

/** The file that native writes from a plan, its rows read at the sources of the folder (all fp32). */
async function written(path: string): Promise<Buffer> {
  const { config, description, sources } = await openModelFolder(path);
  const plan = planSave(config, description);
  const rows = new Map<string, Buffer[]>();
  for (const { parameter, file, offset, rows: count, cols } of sources) {
    const bytes = await readFile(file);
    const list = rows.get(parameter) ?? [];
    rows.set(parameter, list);
    for (let row = 0; row < count; row += 1)
      list.push(bytes.subarray(offset + 4 * row * cols, offset + 4 * (row + 1) * cols));
  }
  const pieces = plan.pieces.flatMap(({ parameter, row, rows: count }) =>
    (rows.get(parameter) ?? []).slice(row, row + count),
  );
  const result = Buffer.concat([plan.header, ...pieces]);
  assert.is(result.length, plan.header.length + plan.data_bytes);
  return result;
}

function savedConfig(text: string, dtype: 'F32' | 'F16' | 'BF16' = 'F32'): string {
  const config = parseJsonObject(Buffer.from(text), 'config.json');
  return planSave(config, describeModel(config), dtype).config_json;
}

suite('saved models', (test) => {
  test('a folder that is loaded and saved again has the same bytes', async () => {
    const configs: ConfigValues[] = [
      neoxConfig,
      { ...neoxConfig, tie_word_embeddings: true },
      llamaConfig,
      { ...llamaConfig, mlp_bias: true, attention_bias: true },
    ];
    for (const config of configs) {
      await inFolder(modelFiles(config), async (path) =>
        assert.ok((await written(path)).equals(await readFile(join(path, 'model.safetensors')))),
      );
    }
  });

  const shared = sharedData();
  if (shared !== undefined) {
    for (const model of ['stories260K', 'stories-neox']) {
      test(`${model}, loaded and saved again, has the same bytes`, async () => {
        const path = join(shared, 'models', model);
        assert.ok((await written(path)).equals(await readFile(join(path, 'model.safetensors'))));
      });
    }
  }

  test('a narrower dtype halves the data, and config.json says it', () => {
    const config = configOf(llamaConfig);
    const description = describeModel(config);
    const [wide, narrow] = [planSave(config, description), planSave(config, description, 'BF16')];
    assert.is(narrow.data_bytes * 2, wide.data_bytes);
    assert.equal(narrow.pieces, wide.pieces);
    const { tensors } = parseHeader(narrow.header.subarray(8), narrow.header.length + narrow.data_bytes, 'f');
    assert.equal(new Set([...tensors.values()].map(({ dtype }) => dtype)), new Set(['BF16']));
    assert.is(JSON.parse(narrow.config_json).torch_dtype, 'bfloat16');
    assert.is(JSON.parse(wide.config_json).torch_dtype, 'float32');
  });

  test('config.json keeps every byte that is not the dtype', () => {
    const rest =
      '"model_type" : "llama",\n\t"rope_theta": 10000.0, "initializer_range":2e-02,"x":{"dtype":"int8","y":[1,"}",{}]}, "vocab_size":10';
    const architectures = '"architectures": ["LlamaForCausalLM"]';
    assert.is(
      savedConfig(`{${architectures},  "torch_dtype" :"float16" ,${rest} }\n`),
      `{${architectures},  "torch_dtype" :"float32" ,${rest} }\n`,
    );
    assert.is(
      savedConfig(`{${architectures}, "dtype": "bfloat16",${rest}}`, 'F16'),
      `{${architectures}, "dtype": "float16",${rest}}\n`,
    );
    assert.is(
      savedConfig(`{${rest}, "dtype": null}`),
      `{${rest}, "dtype": "float32",\n  ${architectures.replaceAll('\n', '')}}\n`,
    );
    assert.equal(JSON.parse(savedConfig(`{${rest}\n}\n`)), {
      ...JSON.parse(`{${rest}}`),
      architectures: ['LlamaForCausalLM'],
      torch_dtype: 'float32',
    });
  });

  test('both spellings of the dtype stay true', () => {
    const saved = JSON.parse(
      savedConfig('{"torch_dtype":"float16","model_type":"llama","dtype":"bfloat16","vocab_size":10}'),
    );
    assert.is(saved.dtype, 'float32');
    assert.is(saved.torch_dtype, 'float32');
  });
});
