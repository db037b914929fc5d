// Sides, rows and reports of the bench's tests.

import type { Answer, Ours } from '../../bench/case.js';
import type { Round } from '../../bench/measure.js';
import type { Side } from '../../bench/peer.js';
import type { Report, RoundsRow } from '../../bench/results.js';
import { summary } from '../../bench/summary.js';

export function answer(seconds: number, loss = 2, grad_norm = 5): Answer {
  return { seconds, cpu_seconds: seconds, checks: { loss, grad_norm }, tokens: 100 };
}

export function round(ours: number, peer: number, foreign = 0): Round {
  return {
    work: { tokens: 80, flops: 1e9 },
    ours: { ...answer(ours), foreign: 0 },
    peers: { torch: { ...answer(peer), foreign } },
    limits: { gflops: 10 },
  };
}

export const tolerances = { loss: 1e-4, grad_norm: 1e-3 };

export function ours(log: string[] = [], seconds = 1): Ours {
  return {
    peerLoad: { model: '', threads: 1, settings: {} },
    peerRows: (at) => at,
    work: () => ({ tokens: 80, flops: 1e9 }),
    run: async (at) => {
      log.push(`ours ${at}`);
      return answer(seconds);
    },
    [Symbol.asyncDispose]: async () => {},
  };
}

export function side(name: string, log: string[], run: (at: number) => Answer): { name: string; side: Side } {
  return {
    name,
    side: {
      run: async (rows) => {
        log.push(`${name} ${rows}`);
        return run(Number(rows));
      },
      [Symbol.asyncDispose]: async () => {},
    },
  };
}

export function row(rounds: Round[], name = 'sft', more: Partial<RoundsRow> = {}): RoundsRow {
  return {
    kind: 'rounds',
    name,
    group: 'sft',
    about: 'a step',
    threads: 2,
    seconds: 1,
    precision: 'fp32',
    goals: { ratio: { torch: 2 }, share_of_peak: 0.5 },
    checks: { torch: { differences: { loss: 1e-6 }, agrees: true } },
    missing: {},
    versions: {},
    summary: summary(rounds, ['torch']),
    rounds,
    ...more,
  };
}

export function report(rows: Report['rows'], more: Partial<Report> = {}): Report {
  return {
    date: '2026-01-01T00:00:00.000Z',
    machine: { name: 'cpu', cpu: 'CPU', cores: 2, memory_bytes: 8e9, isa: 'avx2' },
    commit: 'abc',
    command: 'npm run bench',
    quick: false,
    rounds: 7,
    python: true,
    finished: false,
    versions: { torch: '2' },
    rows,
    ...more,
  };
}
