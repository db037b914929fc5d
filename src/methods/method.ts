// What a training method is, and all that it may see: ids, an engine, settings, and hooks for what it reports.
// A method is the order of its steps; it knows no path, no terminal and no clock, so a test runs it with a small fake of each.

import type { z } from 'zod';
import type { Log } from '../common/log.js';
import type { RowSource, TokenSource } from '../data/stream/row_source.js';
import type {
  GeneratedRow,
  OptimizerSettings,
  PairRow,
  TokenIds,
  TokenRow,
  Trainer,
  UpdateBatch,
} from '../engine/types.js';
import type { ScheduleSettings } from './schedule.js';
import type { RunState } from './state.js';

/** The recipe's section train. */
export interface TrainSettings {
  /** Sequences or pairs of an optimiser step. */
  batch_size: number;
  /** Of each round. */
  epochs: number;
  /** Of the whole run; null: as many as the epochs give. */
  max_steps: number | null;
  max_grad_norm: number | null;
  optimizer: OptimizerSettings;
  schedule: ScheduleSettings;
}

/** The recipe's section generation. */
export interface GenerationSettings {
  max_new_tokens: number;
  temperature: number;
  top_p: number;
  top_k: number;
}

/** The recipe's section evaluation. */
export interface EvaluationSettings {
  /** Steps between evaluations; null: only before the first step and after the last. */
  every: number | null;
  /** Held-out prompts that are answered at the start, after each round and at the end; 0: none. */
  samples: number;
}

/** One object of metrics.jsonl. */
export type Metrics = Readonly<Record<string, number>> & { readonly step: number };

/** A text that the policy wrote in a run. */
export interface Generation {
  id: string;
  /** Place of its demonstration in the data. */
  index: number;
  prompt_ids: TokenIds;
  response_ids: Int32Array;
  /** log π of each token at temperature 1: [response]. */
  token_logprobs: Float32Array;
  /** Their sum. */
  logprob: number;
  finish_reason: GeneratedRow['finish_reason'];
  /** What people answered. */
  demonstration_ids: TokenIds;
}

/** A pair as a round trains it; ref_… are constants of the round. */
export interface RoundPair extends PairRow {
  /** Place of its demonstration in the data. */
  index: number;
  /** In which its answer was sampled. */
  round: number;
}

/** Rows that a round makes once, group by group, and reads again while it trains. */
export interface RoundRows<Row> {
  /** Rows of the whole groups that an interrupted run left; they need not be made again. */
  readonly length: number;
  /** Adds a group; it is kept, whatever happens next. */
  append(group: readonly Row[]): Promise<void>;
  /** No more groups: the rows, to be read. */
  finish(): Promise<RowSource<Row>>;
}

/** Where rounds keep their rows, so that memory does not grow with the data and a run that was ended goes on with what it had. */
export interface RoundStore {
  /** What the policy wrote in a round. total: rows that there will be. */
  generations(round: number, total: number): Promise<RoundRows<Generation>>;
  /** The pairs that a round trains on; what an interrupted run left of them is dropped. */
  pairs(round: number): Promise<RoundRows<RoundPair>>;
  /** The pairs of a round whose training has begun. Errors: ERR_GLEANER_DATA where they are gone. */
  openPairs(round: number): Promise<RowSource<RoundPair>>;
}

/** All that a method may see and use. */
export interface Context {
  engine: Trainer;
  /** The demonstrations D, as they are trained. */
  rows: TokenSource;
  held_out: readonly TokenRow[];
  train: TrainSettings;
  generation: GenerationSettings;
  evaluation: EvaluationSettings;
  /** Rows in a seeded order that is new in each epoch; false: as the files have them. */
  shuffle: boolean;
  seed: number;
  eos_token_ids: readonly number[];
  /** Tokens that the model has positions for. */
  max_positions: number;
  /** Makes of a prompt and an answer that was sampled to it what is trained: EOS and truncation rules of the data. */
  fitPair(row: TokenRow, generated: Pick<GeneratedRow, 'response_ids' | 'finish_reason'>): FittedPair;
  /** Of answers to held-out prompts, where a run has a reward. */
  reward?: ((generations: readonly Generation[]) => Promise<readonly number[]>) | undefined;
  /** Where an interrupted run stood; undefined: this one begins. */
  state?: RunState | undefined;
  rounds: RoundStore;
  output: RunOutput;
  /** Seconds, from any origin. */
  now(): number;
  /** The engine's highest memory use so far. */
  peakBytes(): Promise<number>;
  log: Log;
  signal?: AbortSignal | undefined;
}

/** Where results go. */
export interface RunOutput {
  /** A line of metrics.jsonl. */
  metrics(record: Metrics): Promise<void>;
  /** The run stands here, and could go on from here: called wherever that is so, after each step at least. */
  reached(state: RunState): Promise<void>;
  /** The batch whose loss or gradient was not finite when the run gave up. */
  failedBatch(step: number, batch: UpdateBatch): Promise<void>;
  /** Answers to held-out prompts after `step` steps. */
  samples(step: number, rows: readonly Generation[]): Promise<void>;
}

/** A pair as it is trained. */
export interface FittedPair {
  prompt_ids: TokenIds;
  real_ids: TokenIds;
  generated_ids: TokenIds;
  /** False where an id was added or the prompt was cut: what was sampled has another log-probability than what is trained. */
  as_sampled: boolean;
}

/** What one round will do, known before it. */
export interface PlannedRound {
  /** Demonstrations of the round. */
  rows: number;
  /** Answers sampled before its first step. */
  generations: number;
  steps: number;
}

/** A training method: a file in src/methods and a line in methods.ts. */
export interface Method<Options> {
  name: string;
  /** The recipe's section of the method's name. */
  options: z.ZodType<Options>;
  /** Answers are sampled and trained on, beside the demonstrations. */
  pairs: boolean;
  /** A copy of the weights at a round's start is kept through the round. */
  keepsRound?(options: Options): boolean;
  /** The optimiser steps that numRows demonstrations lead to, as long as no pair is dropped. */
  plan(input: { numRows: number; train: TrainSettings }, options: Options): PlannedRound[];
  /** The steps, from the first to the last; an abort is Node's AbortError. */
  run(context: Context, options: Options): Promise<void>;
}

/** A method with the options of one recipe. */
export interface ChosenMethod {
  pairs: boolean;
  keeps_round: boolean;
  /** As Method.plan. */
  plan(input: { numRows: number; train: TrainSettings }): PlannedRound[];
  /** As Method.run. */
  run(context: Context): Promise<void>;
}

/** Keeps a method's own type of options; `choose` closes over them, so that a list of methods needs no common type. */
export function defineMethod<Options>(method: Method<Options>): Method<Options> & {
  /** Checks the options of one recipe and binds them. */
  choose(options: unknown): ChosenMethod;
} {
  return {
    ...method,
    choose(value) {
      const options = method.options.parse(value);
      return {
        pairs: method.pairs,
        keeps_round: method.keepsRound?.(options) ?? false,
        plan: (input) => method.plan(input, options),
        run: (context) => method.run(context, options),
      };
    },
  };
}
