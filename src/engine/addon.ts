// Loads the native addon; no other file may. The shapes below are what native/addon/engine_wrap.cc answers to.

import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { GleanerError } from '../common/errors.js';
import { packageFile } from '../common/package_file.js';
import type { DecoderSpec } from '../models/spec.js';
import type { FinishReason, MemoryPlan } from './types.js';

export interface NativeJob<T> {
  promise: Promise<T>;
  task: number;
}

/** A forest and what is asked of it, flat. */
export interface NativeMicroBatch {
  ids: Int32Array;
  /** length, parent */
  segments: Int32Array;
  /** row, token */
  targets: Int32Array;
  /** begin, count: targets of a sequence */
  sequences: Int32Array;
  /** real, generated: indices of sequences */
  pairs: Int32Array;
  /** ref_real, ref_generated */
  references: Float64Array;
}

export interface NativeObjective {
  name: 'sft' | 'pair';
  loss: string;
  beta: number;
  nll_weight: number;
  denominator: number;
  nll_denominator: number;
}

export interface NativeStep {
  learning_rate: number;
  /** 0: no clipping. */
  max_grad_norm: number;
}

export interface NativeStepResult {
  loss: number;
  grad_norm: number;
  skipped: boolean;
  num_tokens: number;
  num_targets: number;
  sequence_logprobs: Float64Array;
}

export interface NativeTraining {
  optimizer: string;
  activations: 'keep' | 'recompute';
  micro_batch_tokens: number;
  max_length: number;
}

export interface NativeOptimizer {
  name: string;
  beta1: number;
  beta2: number;
  alpha: number;
  eps: number;
  weight_decay: number;
}

/** Rows of a parameter in the weights, or, where a block is named, in the round's copy or one of the optimiser's states. */
export interface NativeRows {
  parameter: string;
  row: number;
  rows: number;
  block?: 'weights' | 'round' | 'optimizer';
  state?: number;
}

export interface NativeSavePiece extends NativeRows {
  dtype: string;
}

export interface NativeLoadPiece extends NativeRows {
  file: number;
  offset: number;
  dtype: string;
}

export interface NativeGenerateSettings {
  max_new_tokens: number;
  temperature: number;
  top_p: number;
  top_k: number;
  seed: number;
  eos_ids: Int32Array;
  stop_ids: Int32Array;
  batch_size: number;
  max_length: number;
  prefill_tokens: number;
}

export interface NativeResponse {
  response_ids: Int32Array;
  token_logprobs: Float32Array;
  full_logprobs: Float32Array;
  finish_reason: FinishReason;
}

export interface NativeOps {
  backend: string;
  isa: string;
  threads: number;
}

export interface NativeTrainingState {
  optimizer: string;
  num_steps: number;
  /** torch's names of the optimiser's blocks. */
  states: string[];
}

export interface NativeEngine {
  load(files: string[], pieces: NativeLoadPiece[]): NativeJob<void>;
  fillRandom(options: { seed: number; stddev: number }): NativeJob<void>;
  /** digits_at: where in the header the file's CRC-32 goes. */
  save(path: string, header: Uint8Array, pieces: NativeSavePiece[], digits_at?: number): NativeJob<void>;
  loadState(
    file: { path: string; digits_at: number; crc32: number },
    pieces: NativeLoadPiece[],
    num_steps?: number,
  ): NativeJob<void>;
  trainingState(): NativeJob<NativeTrainingState>;
  read(parameter: string, gradient: boolean): NativeJob<Float32Array>;
  write(parameter: string, values: Float32Array): NativeJob<void>;
  putWeightsAside(): NativeJob<void>;
  bringWeightsBack(): NativeJob<void>;
  rememberRound(): NativeJob<void>;
  swapRound(): NativeJob<void>;
  prepareTraining(training: NativeTraining, optimizer: NativeOptimizer): NativeJob<void>;
  score(batches: NativeMicroBatch[]): NativeJob<{ logprobs: Float32Array; greedy: Uint8Array }[]>;
  logits(batch: NativeMicroBatch, rows: Int32Array): NativeJob<Float32Array>;
  update(batches: NativeMicroBatch[], objective: NativeObjective, step: NativeStep): NativeJob<NativeStepResult>;
  accumulate(batches: NativeMicroBatch[], objective: NativeObjective): NativeJob<NativeStepResult>;
  clearGradients(): NativeJob<void>;
  forward(batch: NativeMicroBatch): NativeJob<Float32Array>;
  backward(dlogprobs: Float32Array): NativeJob<void>;
  step(loss: number, step: NativeStep): NativeJob<NativeStepResult>;
  resetOptimizer(): NativeJob<void>;
  generate(
    ids: Int32Array,
    lengths: Int32Array,
    sample_ids: Float64Array,
    settings: NativeGenerateSettings,
    /** prompt, token, position of every token drawn. */
    onTokens?: (events: Int32Array) => void,
  ): NativeJob<NativeResponse[]>;
  memory(): NativeJob<{ current_bytes: number; peak_bytes: number }>;
  cancel(task: number): void;
  stopPrompt(task: number, prompt: number): void;
  close(): Promise<void>;
}

export interface Addon {
  NativeEngine: new (options: NativeOps & { spec: DecoderSpec; memory_limit_bytes: number }) => NativeEngine;
  planMemory(
    spec: DecoderSpec,
    request: {
      training?: NativeTraining;
      generation?: { batch_size: number; max_length: number; prefill_tokens: number };
    },
    options: NativeOps,
  ): MemoryPlan;
  cpuInfo(): { isa: string };
  parameterShapes(spec: DecoderSpec): { name: string; rows: number; cols: number }[];
}

let loaded: Addon | undefined;

/** Throws ERR_GLEANER_BUILD when the addon has not been built, or does not fit this machine. */
export function addon(): Addon {
  if (loaded) return loaded;
  const path = process.env.GLEANER_ADDON ?? fileURLToPath(packageFile('build/Release/gleaner.node'));
  if (!existsSync(path))
    throw new GleanerError(
      'ERR_GLEANER_BUILD',
      `the native addon is not built: ${path} is missing`,
      'run npm run build',
    );
  try {
    const found: Addon = createRequire(import.meta.url)(path);
    loaded = found;
    return found;
  } catch (cause) {
    throw new GleanerError(
      'ERR_GLEANER_BUILD',
      `the native addon cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`,
      'run npm run build',
      { cause },
    );
  }
}
