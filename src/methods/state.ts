// Where a run stands between two steps: with the weights and the optimiser's state of that moment, all that a method needs to go on as if it
// had never stopped. Random numbers and orders follow from the seed and these counters.

import type { TokenIds } from '../engine/types.js';

/** Where a run stands: what a checkpoint keeps beside weights and optimiser. */
export interface RunState {
  /** Optimiser steps done. */
  step: number;
  /** Batches gone through; more than steps where all pairs of one were dropped. */
  batches: number;
  num_tokens: number;
  skipped_steps: number;
  skips_in_a_row: number;
  /** Steps at which held-out prompts were last scored and answered; −1: not yet. */
  evaluated_at: number;
  answered_at: number;
  /** What the weights that training began with answered to held-out prompts; the log-prob gap is measured to them. */
  baseline: readonly TokenIds[];
  round: number;
  /** Where the round's steps began; null: its rows are not there yet. */
  round_start: { step: number; batches: number } | null;
}

export const startOfRun: RunState = {
  step: 0,
  batches: 0,
  num_tokens: 0,
  skipped_steps: 0,
  skips_in_a_row: 0,
  evaluated_at: -1,
  answered_at: -1,
  baseline: [],
  round: 0,
  round_start: null,
};
