// What a run takes besides its recipe, what it gives back, and what its error carries.

import type { Log } from '../common/log.js';
import type { Metrics } from '../methods/method.js';
import type { RunPlan } from './plan.js';

/** A prompt and an answer as text, for a reward of the caller's. */
export interface Answer {
  id: string;
  prompt: string;
  response: string;
}

/** What a caller may watch and decide. */
export interface RunOptions {
  /** Every record of metrics.jsonl, as it is written. */
  onMetrics?: ((record: Metrics) => void) | undefined;
  /** Rewards of answers to held-out prompts, reported as eval/reward. */
  reward?: ((answers: readonly Answer[]) => readonly number[] | Promise<readonly number[]>) | undefined;
  /** Answers to held-out prompts, at the start, after each round and at the end. */
  onSamples?: ((step: number, answers: readonly Answer[]) => void) | undefined;
  /** Once, before anything is loaded. */
  onPlan?: ((plan: RunPlan) => void) | undefined;
  /** While a round's answers are sampled. */
  onSampling?: ((progress: SamplingProgress) => void) | undefined;
  log?: Log | undefined;
  signal?: AbortSignal | undefined;
  /** Replaces a run that the output folder holds. */
  overwrite?: boolean | undefined;
  /** Goes on with the run that the output folder holds, bit by bit as if it had never ended; where there is none, begins one. */
  resume?: boolean | undefined;
}

/** What a run left. */
export interface RunResult {
  output: string;
  /** The trained model, a Hugging Face folder. */
  final: string;
  steps: number;
  plan: RunPlan;
  /** Of the last step, and of the last evaluation. */
  metrics: Readonly<Record<string, number>>;
}

/** What the error of a run that was aborted or failed carries. */
export interface Interruption {
  /** Where the policy was saved, if a step had been done. */
  checkpoint: string | undefined;
  /** The run's folder, with which --resume goes on. */
  output: string;
}

/** How far the sampling of a round is. */
export interface SamplingProgress {
  /** Answers that are complete, and asked for. */
  done: number;
  total: number;
  /** Tokens sampled so far, of the answers that are under way together. */
  tokens: number;
}

/** Answers of the round that are kept already, and all that are wanted. */
export interface SamplingPlace {
  kept: number;
  total: number;
}
