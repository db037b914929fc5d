// A saved model folder is there whole or not at all; what else lies in a folder stays.

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeModelFolder } from '../../src/engine/save.js';
import { configOf, describe, llamaConfig } from '../models/tiny_folder.js';
import { assertRejects, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const config = configOf(llamaConfig);
const description = describe(llamaConfig);
const tensors = async (file: string) => writeFileSync(file, 'tensors');
const broken = async () => {
  throw new Error('the disk is full');
};

suite('saving a model folder', (test) => {
  test('a failure amid it leaves no folder of that name; the next try succeeds', async () => {
    const path = join(temporaryFolder(), 'deep', 'model');
    await assert.rejects(() => writeModelFolder(path, config, description, 'F32', [], broken), /the disk is full/);
    assert.deepEqual(readdirSync(join(path, '..')), []);
    await writeModelFolder(path, config, description, 'F32', [], tensors);
    assert.deepEqual(readdirSync(path).sort(), ['config.json', 'model.safetensors']);
    assert.deepEqual(readdirSync(join(path, '..')), ['model']);
  });

  test('into a folder that exists: what is not ours stays, and a file may be its own source', async () => {
    const path = join(temporaryFolder(), 'model');
    mkdirSync(path);
    writeFileSync(join(path, 'notes.txt'), 'mine');
    writeFileSync(join(path, 'tokenizer.json'), '{}');
    await writeModelFolder(path, config, description, 'F32', [join(path, 'tokenizer.json')], tensors);
    assert.deepEqual(readdirSync(path).sort(), ['config.json', 'model.safetensors', 'notes.txt', 'tokenizer.json']);
    assert.equal(readFileSync(join(path, 'tokenizer.json'), 'utf8'), '{}');
  });

  test('a path below a file is ERR_GLEANER_DISK', async () => {
    const file = join(temporaryFolder(), 'file');
    writeFileSync(file, '');
    await assertRejects(
      () => writeModelFolder(join(file, 'model'), config, description, 'F32', [], tensors),
      'ERR_GLEANER_DISK',
      /file/,
    );
  });
});
