// Long curves in few points: what a reader looks for is still there.

import assert from 'node:assert/strict';
import { downsample } from '../../src/report/downsample.js';
import { assertClose, suite } from '../support/suite.js';

const steps = Array.from({ length: 100_000 }, (_, i) => i + 1);
const wave = (step: number) => Math.sin(step / 5000);

suite('downsample', (test) => {
  test('a short curve is left as it is, to six digits', () => {
    const line = downsample({ steps: [1, 2, 5], values: [1 / 3, null, 1e-9] });
    assert.deepEqual(line, { x: [1, 2, 5], y: [0.333333, null, 1e-9] });
  });

  test('spikes, gaps and both ends of a long one survive in order', () => {
    const values = steps.map((step): number | null => (step === 61_234 ? 50 : step === 777 ? null : wave(step)));
    const { x, y, mean } = downsample({ steps, values }, 500);
    assert.ok(x.length <= 1503 && x.length === y.length, `${x.length} points`);
    assert.ok(x.every((step, place) => place === 0 || step > (x[place - 1] ?? 0)));
    assert.equal(y[x.indexOf(61_234)], 50);
    assert.equal(y[x.indexOf(777)], null);
    assert.deepEqual([x[0], x.at(-1)], [1, 100_000]);
    assertClose(y.at(-1) ?? Number.NaN, wave(100_000), 1e-5);
    assert.equal(mean?.x.length, 500);
    const at = mean?.x.findIndex((step) => step > 20_000) ?? 0;
    assertClose(mean?.y[at] ?? Number.NaN, wave(mean?.x[at] ?? 0), 1e-3); // a bin of 200 steps is 0.04 of the wave's length
  });

  test('a curve of gaps alone has gaps and no mean', () => {
    const { y, mean } = downsample({ steps, values: steps.map(() => null) }, 10);
    assert.ok(y.length > 0 && y.every((value) => value === null));
    assert.deepEqual(mean, { x: [], y: [] });
  });
});
