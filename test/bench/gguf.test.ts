// The GGUF file that a peer loads: header, places of the tensors, and the two orders of rows that differ from Hugging Face's.

import assert from 'node:assert/strict';
import { ggufFile } from '../../bench/gguf.js';
import { byPart, interleaved } from '../../bench/gguf_model.js';
import { suite } from '../support/suite.js';

suite('bench: GGUF', (test) => {
  test('magic, counts, reversed dimensions, data at multiples of 32', () => {
    const file = Buffer.concat(
      ggufFile({ a: { type: 'u32', value: 7 } }, [
        { name: 't', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
        { name: 'u', shape: [1], data: Float32Array.of(9) },
      ]),
    );
    assert.equal(file.subarray(0, 4).toString(), 'GGUF');
    assert.deepEqual([file.readUInt32LE(4), file.readBigUInt64LE(8), file.readBigUInt64LE(16)], [3, 2n, 1n]);
    const t = 24 + (8 + 1 + 4 + 4); // after the one key: its name, type, value
    assert.equal(file.readBigUInt64LE(t), 1n);
    assert.equal(file.readUInt32LE(t + 9), 2);
    assert.deepEqual([file.readBigUInt64LE(t + 13), file.readBigUInt64LE(t + 21)], [3n, 2n]);
    const data = file.length - 64; // 24 bytes and 4 bytes, each padded to 32
    assert.equal(data % 32, 0);
    assert.deepEqual([file.readFloatLE(data), file.readFloatLE(data + 20), file.readFloatLE(data + 32)], [1, 6, 9]);
  });

  test('rows of a head in pairs; q, k, v of all heads together', () => {
    assert.deepEqual([...interleaved(Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7), 2, 1)], [0, 2, 1, 3, 4, 6, 5, 7]);
    assert.deepEqual([...byPart(Float32Array.of(0, 1, 2, 3, 4, 5), 2, 1)], [0, 3, 1, 4, 2, 5]);
  });

  test('a shape that is not its data is refused', () => {
    assert.throws(() => ggufFile({}, [{ name: 't', shape: [2], data: Float32Array.of(1) }]), RangeError);
  });
});
