// Two runs compared: what is beyond the noise of both is a regression, what is within is not.

import assert from 'node:assert/strict';
import { compared, comparison, judge } from '../../bench/compare.js';
import { suite } from '../support/suite.js';
import { report, round, row } from './fakes.js';

const steady = (ours: number, peer: number) =>
  Array.from({ length: 7 }, (_, i) => round(ours * (1 + 0.001 * i), peer * (1 + 0.001 * i)));

suite('bench: comparison of two runs', (test) => {
  test('a drop is worse only beyond the spread', () => {
    assert.equal(judge([4, 4.01, 3.99, 4], [3.6, 3.61, 3.59, 3.6]), 'worse');
    assert.equal(judge([4, 5, 3, 4.5, 3.5], [3.6, 4.6, 2.6, 4.1, 3.1]), 'same');
    assert.equal(judge([4, 4.01, 3.99], [3.95, 3.96, 3.94]), 'same'); // less than 3 %
    assert.equal(judge([4, 4.01, 3.99], [4.6, 4.61, 4.59]), 'better');
  });

  test('ratio, share of peak and tokens/s are judged, with one busy round put aside', () => {
    const noisy = [...steady(1.3, 4).slice(0, 6), round(9, 4, 0.9)];
    const found = compared(report([row(steady(1, 4))]), report([row(noisy)]));
    const verdicts = Object.fromEntries(found.map(({ figure, verdict }) => [figure, verdict]));
    assert.deepEqual(verdicts, { 'ratio to torch': 'worse', 'share of peak': 'worse', 'tokens/s': 'worse' });
    assert.ok(found.every(({ now }) => now.length === 6));
    assert.match(comparison(found, report([]), report([])), /3 regressions\./);
  });

  test('tokens/s of another machine are context', () => {
    const other = report([row(steady(1.3, 5.2))]);
    const now = { ...other, machine: { ...other.machine, cpu: 'another' } };
    const verdicts = compared(report([row(steady(1, 4))]), now).map(({ figure, verdict }) => [figure, verdict]);
    assert.deepEqual(verdicts.at(0), ['ratio to torch', 'same']);
    assert.deepEqual(verdicts.at(-1), ['tokens/s', 'context']);
  });

  test('rows are matched by case and threads; a peer without agreement has no ratio to compare', () => {
    const now = report([row(steady(2, 4), 'sft', { threads: 1 }), row(steady(2, 4), 'pair')]);
    assert.deepEqual(compared(report([row(steady(1, 4))]), now), []);
    const disagreeing = row(steady(2, 4), 'sft', { checks: { torch: { differences: {}, agrees: false } } });
    const figures = compared(report([row(steady(1, 4))]), report([disagreeing])).map(({ figure }) => figure);
    assert.deepEqual(figures, ['share of peak', 'tokens/s']);
  });
});
