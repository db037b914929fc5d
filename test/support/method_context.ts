// A Context for tests of methods, around a tabular policy or a small real engine: lists keep what was reported.

import { MemoryRows, type TokenSource } from '../../src/data/stream/row_source.js';
import type { TokenRow, Trainer } from '../../src/engine/types.js';
import type { Context, Generation, Metrics, RoundPair, RoundRows, TrainSettings } from '../../src/methods/method.js';
import type { RunState } from '../../src/methods/state.js';

export interface TestContext extends Context {
  records: Metrics[];
  /** Generations by round. */
  written: Map<number, readonly Generation[]>;
  /** Where the run could have gone on from. */
  states: RunState[];
  said: string[];
}

/** Rows in memory as a source. */
export function tokenSource(rows: readonly TokenRow[]): TokenSource {
  const source = new MemoryRows(rows);
  return Object.assign(source, {
    prompt_lengths: Int32Array.from(rows, (row) => row.prompt_ids.length),
    response_lengths: Int32Array.from(rows, (row) => row.response_ids.length),
    fingerprint: 'memory',
  });
}

/** Rows of a round in a map of the test's. */
function kept<Row>(into: Map<number, readonly Row[]>, round: number): RoundRows<Row> {
  const rows: Row[] = [];
  into.set(round, rows);
  return {
    length: 0,
    async append(group) {
      rows.push(...group);
    },
    finish: async () => new MemoryRows(rows),
  };
}

export interface ContextOptions extends Partial<Omit<Context, 'train' | 'engine'>> {
  train?: Partial<TrainSettings>;
}

export function methodContext(
  engine: Trainer,
  rows: readonly TokenRow[],
  { train, ...rest }: ContextOptions = {},
): TestContext {
  const records: Metrics[] = [];
  const written = new Map<number, readonly Generation[]>();
  const pairs = new Map<number, readonly RoundPair[]>();
  const states: RunState[] = [];
  const said: string[] = [];
  let seconds = 0;
  return {
    engine,
    rows: tokenSource(rows),
    held_out: [],
    train: {
      batch_size: 4,
      epochs: 1,
      max_steps: null,
      max_grad_norm: null,
      optimizer: { name: 'rmsprop', learning_rate: 0.5, alpha: 0.99, eps: 1e-8, weight_decay: 0 },
      schedule: { name: 'constant', warmup_ratio: 0, warmup_steps: null },
      ...train,
    },
    generation: { max_new_tokens: 1, temperature: 1, top_p: 1, top_k: 0 },
    evaluation: { every: null, samples: 0 },
    shuffle: true,
    seed: 7,
    eos_token_ids: [],
    max_positions: 1000,
    fitPair: (row, { response_ids }) => ({
      prompt_ids: row.prompt_ids,
      real_ids: row.response_ids,
      generated_ids: response_ids,
      as_sampled: true,
    }),
    rounds: {
      generations: async (round) => kept(written, round),
      pairs: async (round) => kept(pairs, round),
      openPairs: async (round) => new MemoryRows(pairs.get(round) ?? []),
    },
    output: {
      async metrics(record) {
        records.push(record);
      },
      async reached(state) {
        states.push(state);
      },
      async failedBatch() {},
      async samples() {},
    },
    now: () => (seconds += 0.5),
    peakBytes: async () => 1000,
    log: { info: (message) => said.push(message), warn: (message) => said.push(`warning: ${message}`) },
    records,
    written,
    states,
    said,
    ...rest,
  };
}

/** The records of optimiser steps alone. */
export function stepRecords({ records }: TestContext): Metrics[] {
  return records.filter((record) => 'loss' in record);
}
