// Safetensors headers: what is written reads back byte for byte, and each way in which a header can lie is named.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { parseHeader, readSafetensors, writeHeader } from '../../src/models/safetensors.js';
import { sharedData, suite } from '../support/suite.js';
import { refused } from './errors.js';
import { f32Tensor, inFolder, safetensorsBytes, withHeader } from './tiny_folder.js';

const data = Buffer.alloc(16);
const entry = (begin: number, end: number, shape: number[] = [(end - begin) / 4], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

const bad: [string, Uint8Array, string[]][] = [
  ['an empty file', new Uint8Array(), ['0 bytes are too few']],
  ['seven bytes', new Uint8Array(7), ['7 bytes are too few']],
  [
    'a header longer than the file',
    Buffer.concat([Buffer.from([200, 0, 0, 0, 0, 0, 0, 0]), data]),
    ['says 200 bytes', 'has 24'],
  ],
  ['a header of 2^60 bytes', Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 0, 0, 16]), data]), ['1152921504606846976']],
  ['a header of length 0', withHeader('', data), ['not JSON']],
  ['a header that is no JSON', withHeader('{"a":', data), ['not JSON']],
  ['a header that is no UTF-8', Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 0xff])]), ['UTF-8']],
  ['a header that is a list', withHeader([]), ['object']],
  [
    'a tensor twice',
    withHeader(
      '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
      data,
    ),
    ['"a"', 'twice'],
  ],
  ['a tensor twice, once escaped', withHeader('{"a":1,"\\u0061":1}', data), ['"a"', 'twice']],
  [
    'a key of an entry twice',
    withHeader('{"a":{"dtype":"F32","dtype":"F16","shape":[4],"data_offsets":[0,16]}}', data),
    ['"dtype"', 'twice'],
  ],
  ['an entry without dtype', withHeader({ a: { shape: [4], data_offsets: [0, 16] } }, data), ['tensor a', 'dtype']],
  ['an entry with more keys', withHeader({ a: { ...entry(0, 16), strides: [1] } }, data), ['tensor a', 'strides']],
  ['an entry that is null', withHeader({ a: null }, data), ['tensor a']],
  ['an unknown dtype', withHeader({ a: entry(0, 16, [4], 'F31') }, data), ['tensor a', '"F31"']],
  ['a negative size', withHeader({ a: entry(0, 16, [-4]) }, data), ['tensor a', 'shape.0']],
  ['half a size', withHeader({ a: entry(0, 16, [4.5]) }, data), ['tensor a', 'shape.0']],
  [
    'a size beyond 2^53',
    withHeader('{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,16]}}', data),
    ['tensor a', 'shape.0'],
  ],
  ['sizes whose product overflows', withHeader({ a: entry(0, 16, [2 ** 40, 2 ** 40]) }, data), ['tensor a', 'takes']],
  [
    'a shape that is not the bytes',
    withHeader({ a: entry(0, 16, [5]) }, data),
    ['tensor a', '[5] of F32 takes 20 bytes', 'hold 16'],
  ],
  [
    'one offset',
    withHeader({ a: { dtype: 'F32', shape: [4], data_offsets: [0] } }, data),
    ['tensor a', 'data_offsets'],
  ],
  ['offsets that run backwards', withHeader({ a: entry(16, 0, [4]) }, data), ['tensor a', 'backwards']],
  ['a tensor past the end', withHeader({ a: entry(0, 20) }, data), ['tensor a', 'the file at']],
  ['tensors that overlap', withHeader({ a: entry(0, 16), b: entry(8, 16) }, data), ['tensor b overlaps tensor a']],
  ['the same bytes twice', withHeader({ a: entry(0, 16), b: entry(0, 16) }, data), ['overlaps']],
  ['a gap before the first', withHeader({ a: entry(8, 16) }, data), ['8 bytes', 'tensor a', 'belong to nothing']],
  ['a gap between two', withHeader({ a: entry(0, 4), b: entry(8, 16) }, data), ['4 bytes', 'belong to nothing']],
  ['bytes after the last', withHeader({ a: entry(0, 8) }, data), ['8 bytes after tensor a']],
  ['data without tensors', withHeader({}, data), ['16 bytes after the header']],
  ['metadata that is no text', withHeader({ __metadata__: { format: 1 }, a: entry(0, 16) }, data), ['__metadata__']],
];

suite('safetensors headers', (test) => {
  for (const [name, bytes, parts] of bad) {
    test(`${name}: a clear error`, () =>
      inFolder({ 'model.safetensors': bytes }, (path) =>
        refused(() => readSafetensors(join(path, 'model.safetensors')), 'model.safetensors: ', ...parts),
      ));
  }

  test('a missing file and a folder of that name', () =>
    inFolder({}, async (path) => {
      await refused(() => readSafetensors(join(path, 'x.safetensors')), 'x.safetensors', 'ENOENT');
      await refused(() => readSafetensors(path), 'not a regular file');
    }));

  test('names out of order, empty tensors and scalars are right', () =>
    inFolder(
      {
        f: withHeader(
          { b: entry(4, 16), none: entry(16, 16, [0, 7]), a: entry(0, 4, []), __metadata__: { format: 'pt' } },
          data,
        ),
      },
      async (path) => {
        const file = await readSafetensors(join(path, 'f'));
        const start = file.file_bytes - 16;
        assert.equal(
          [file.tensors.get('a')?.offset, file.tensors.get('b')?.offset, file.tensors.get('none')?.bytes],
          [start, start + 4, 0],
        );
        assert.is(file.metadata.get('format'), 'pt');
      },
    ));

  test('what is written is read, and written again is the same', () => {
    const tensors = [
      f32Tensor('a"\\é', [2, 3], new Float32Array(6)),
      f32Tensor('b', [], new Float32Array(1)),
      f32Tensor('c', [1], new Float32Array(1)),
    ];
    const { header, data_bytes } = writeHeader(tensors);
    assert.is(header.length % 8, 0);
    assert.is(data_bytes, 32);
    const read = parseHeader(header.subarray(8), header.length + data_bytes, 'f');
    assert.equal(
      [...read.tensors.values()].map((tensor) => [
        tensor.name,
        tensor.shape,
        tensor.offset - header.length,
        tensor.bytes,
      ]),
      [
        ['a"\\é', [2, 3], 0, 24],
        ['b', [], 24, 4],
        ['c', [1], 28, 4],
      ],
    );
    assert.equal(writeHeader([...read.tensors.values()]).header, header);
    assert.is(safetensorsBytes(tensors).length, header.length + 32);
  });

  const shared = sharedData();
  if (shared !== undefined) {
    for (const model of ['stories260K', 'stories-neox', 'stories-reward']) {
      test(`the header of ${model}, written again, is the same bytes`, async () => {
        const path = join(shared, 'models', model, 'model.safetensors');
        const file = await readSafetensors(path);
        const { header } = writeHeader([...file.tensors.values()]);
        assert.ok((await readFile(path)).subarray(0, header.length).equals(header));
      });
    }
  }
});
