// A ratio is the median of the rounds' own, and exists only where both sides computed the same.

import assert from 'node:assert/strict';
import type { Answer, Ours } from '../../bench/case.js';
import { check, measure, type Round, spread, summary } from '../../bench/measure.js';
import { suite } from '../support/suite.js';

function answer(seconds: number, loss = 2, grad_norm = 5): Answer {
  return { seconds, cpu_seconds: seconds, checks: { loss, grad_norm }, tokens: 100 };
}

function round(ours: Answer, peer: Answer): Round {
  return {
    work: { tokens: 80, flops: 1e9 },
    ours: { ...ours, foreign: 0 },
    peer: { ...peer, foreign: 0.5 },
    peak: 10,
  };
}

suite('bench: ratios', (test) => {
  test('spread is the median with its ends, of odd and even counts', () => {
    assert.deepEqual(spread([3, 1, 2]), { median: 2, min: 1, max: 3 });
    assert.deepEqual(spread([4, 1, 2, 3]), { median: 2.5, min: 1, max: 4 });
    assert.equal(spread([]), undefined);
  });

  test('the ratio is the median of ratios, not the ratio of medians', () => {
    const rounds = [round(answer(1), answer(2)), round(answer(10), answer(30)), round(answer(2), answer(8))];
    const found = summary(rounds, true);
    assert.deepEqual(found.ratio, { median: 3, min: 2, max: 4 });
    assert.deepEqual(found.ours_ms, { median: 2000, min: 1000, max: 10000 });
    assert.deepEqual(found.tokens_per_second, { median: 40, min: 8, max: 80 });
    assert.deepEqual(found.share_of_peak, { median: 0.05, min: 0.01, max: 0.1 });
    assert.equal(found.peer_tokens_ratio?.median, 1.25);
    assert.equal(found.busy_rounds, 3);
  });

  test('no agreement, no ratio', () => {
    const found = summary([round(answer(1), answer(2))], false);
    assert.equal(found.ratio, undefined);
    assert.equal(found.cpu_ratio, undefined);
    assert.notEqual(found.peer_ms, undefined);
  });

  test('loss to 1e-4 and gradient norm to 1e-3, in every round; NaN never agrees', () => {
    const same = [answer(1), answer(1)] as const;
    assert.equal(check([same, same]).agrees, true);
    assert.equal(check([same, [answer(1, 2.0003), answer(1)]]).agrees, false);
    assert.equal(check([same, [answer(1, 2, 5.006), answer(1)]]).agrees, false);
    assert.equal(check([[answer(1, Number.NaN), answer(1)], same]).agrees, false);
    assert.equal(check([]).agrees, false);
  });

  test('rounds alternate and warm-up rounds are not counted; without a peer there is no ratio', async () => {
    const asked: number[] = [];
    const ours: Ours = {
      peerLoad: { model: '', threads: 1, training: {} },
      peerRows: () => [],
      work: () => ({ tokens: 80, flops: 1e9 }),
      run: async (at) => {
        asked.push(at);
        return answer(1);
      },
      [Symbol.asyncDispose]: async () => {},
    };
    const { check: none, rounds } = await measure(ours, undefined, 3, async () => 10);
    assert.deepEqual(asked, [0, 1, 2, 3, 4]);
    assert.equal(rounds.length, 3);
    assert.equal(none, undefined);
    assert.equal(summary(rounds, false).ratio, undefined);
    assert.equal(summary(rounds, false).share_of_peak?.median, 0.1);
  });
});
