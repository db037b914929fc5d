// A ratio is the median of the rounds' own, and exists only where both sides computed the same.

import assert from 'node:assert/strict';
import { check } from '../../bench/check.js';
import { measure } from '../../bench/measure.js';
import { spread, summary } from '../../bench/summary.js';
import { suite } from '../support/suite.js';
import { answer, ours, round, side, tolerances } from './fakes.js';

suite('bench: ratios', (test) => {
  test('spread is the median with its ends, of odd and even counts', () => {
    assert.deepEqual(spread([3, 1, 2]), { median: 2, min: 1, max: 3 });
    assert.deepEqual(spread([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 });
    assert.equal(spread([]), undefined);
  });

  test('the ratio is the median of ratios, not the ratio of medians', () => {
    const found = summary([round(1, 2, 0.5), round(10, 30, 0.5), round(2, 8)], ['torch']);
    assert.deepEqual(found.peers.torch?.ratio, { median: 3, min: 2, max: 4 });
    assert.deepEqual(found.ours_ms, { median: 2000, min: 1000, max: 10000 });
    assert.deepEqual(found.tokens_per_second, { median: 40, min: 8, max: 80 });
    assert.deepEqual(found.share_of_peak, { median: 0.05, min: 0.01, max: 0.1 });
    assert.equal(found.peers.torch?.tokens_ratio?.median, 1.25);
    assert.equal(found.busy_rounds, 2);
  });

  test('no agreement, no ratio', () => {
    const found = summary([round(1, 2)], []);
    assert.equal(found.peers.torch?.ratio, undefined);
    assert.equal(found.peers.torch?.cpu_ratio, undefined);
    assert.notEqual(found.peers.torch?.ms, undefined);
  });

  test('each key to its tolerance, in every round, lists number by number; NaN and other lengths never agree', () => {
    const same = [answer(1), answer(1)] as const;
    const of = (pairs: Parameters<typeof check>[0]) => check(pairs, tolerances).agrees;
    assert.equal(of([same, same]), true);
    assert.equal(of([same, [answer(1, 2.0003), answer(1)]]), false);
    assert.equal(of([same, [answer(1, 2, 5.006), answer(1)]]), false);
    assert.equal(of([[answer(1, Number.NaN), answer(1)], same]), false);
    assert.equal(of([]), false);
    const lists = (a: number[], b: number[]) =>
      check([[{ checks: { logprobs: a } }, { checks: { logprobs: b } }]], { logprobs: 1e-4, loss: 1e-4 });
    assert.equal(lists([1, -50], [1, -50.004]).agrees, true);
    assert.equal(lists([1, -50], [1, -50.006]).agrees, false);
    assert.deepEqual(lists([1], [1, 2]), { differences: { logprobs: null }, agrees: false });
    assert.equal(lists([], []).agrees, false);
  });

  test('a peer that answers no key has no ratio', () => {
    assert.equal(check([[answer(1), { checks: { other: 1 } }]], tolerances).agrees, false);
    assert.equal(
      check(
        [
          [answer(1), answer(1)],
          [answer(1), { checks: { loss: 2 } }],
        ],
        tolerances,
      ).agrees,
      false,
    );
  });

  test('sides are interleaved A B C, C B A; warm-up rounds are checked and not counted', async () => {
    const log: string[] = [];
    const b = side('b', log, () => answer(2));
    const c = side('c', log, (at) => answer(3, at === 1 ? 7 : 2));
    const { rounds, checks, missing } = await measure(ours(log), [b, c], {
      rounds: 3,
      tolerances,
      limits: async () => ({ gflops: 10 }),
    });
    assert.deepEqual(log.slice(0, 6), ['ours 0', 'b 0', 'c 0', 'c 1', 'b 1', 'ours 1']);
    assert.equal(log.length, 15);
    assert.equal(rounds.length, 3);
    assert.equal(checks.b?.agrees, true);
    assert.equal(checks.c?.agrees, false);
    assert.deepEqual(missing, {});
    assert.equal(summary(rounds, ['b']).peers.b?.ratio?.median, 2);
    assert.equal(summary(rounds, ['b']).share_of_peak?.median, 0.1);
  });

  test('without a peer there is no ratio', async () => {
    const { rounds, checks } = await measure(ours(), [], { rounds: 3, tolerances });
    assert.equal(rounds.length, 3);
    assert.deepEqual(checks, {});
    assert.deepEqual(summary(rounds, []).peers, {});
  });

  test('a peer that fails or is slow is left out, and the rest go on', async () => {
    const failing = side('failing', [], (at) => {
      if (at === 2) throw new Error('out of memory');
      return answer(1);
    });
    const slow = side('slow', [], () => answer(6));
    const options = { rounds: 3, tolerances, drop_slow: true };
    const { rounds, missing } = await measure(ours(), [failing, slow], options);
    assert.equal(rounds.length, 3);
    assert.equal(missing.failing, 'out of memory');
    assert.match(missing.slow ?? '', /^6\.0 s a step/);
    const kept = await measure(ours(), [slow], { rounds: 3, tolerances });
    assert.deepEqual(kept.missing, {});
  });

  test('rounds stop at the budget, not below three', async () => {
    const { rounds } = await measure(ours(), [], { rounds: 7, tolerances, budget_seconds: 0 });
    assert.equal(rounds.length, 3);
  });
});
