// The part of a run that every method shares: count steps, measure them, skip what is not finite, evaluate in between, and say at each place
// from which the run could go on where it stands.

import { GleanerError } from '../common/errors.js';
import { seedFor } from '../common/philox.js';
import type { UpdateBatch, UpdateResult } from '../engine/types.js';
import { HeldOut } from './held_out.js';
import type { Context, PlannedRound } from './method.js';
import { type RunState, startOfRun } from './state.js';

/** A run whose loss stays infinite for this many steps has left the road for good. */
const MAX_SKIPS_IN_A_ROW = 10;

export interface StepPlace {
  epoch: number;
  learning_rate: number;
  /** Seconds that the step waited for its rows. */
  waited: number;
}

export class TrainingLoop {
  readonly #context: Context;
  readonly #heldOut: HeldOut;
  readonly #totalSteps: number;
  #state: RunState;

  constructor(context: Context, rounds: readonly PlannedRound[]) {
    this.#context = context;
    this.#heldOut = new HeldOut(context, seedFor(context.seed, 'held_out'));
    this.#totalSteps = rounds.reduce((sum, round) => sum + round.steps, 0);
    this.#state = context.state ?? startOfRun;
  }

  get state(): RunState {
    return this.#state;
  }

  /** The run is here now. */
  async #reach(change: Partial<RunState>): Promise<void> {
    this.#state = { ...this.#state, ...change };
    await this.#context.output.reached(this.#state);
  }

  /** A round begins: the weights are shown and measured as it finds them. One that was under way goes on. */
  async beginRound(round: number): Promise<void> {
    if (this.#state.round !== round) await this.#reach({ round, round_start: null });
    if (this.#state.round_start === null) await this.showAndEvaluate();
  }

  /** The rows of the round are there and its steps begin. */
  async beginSteps(): Promise<void> {
    const { step, batches } = this.#state;
    await this.#reach({ round_start: { step, batches } });
  }

  /** Batches of this round that are done, and the step at which it began. */
  get sinceRoundStart(): { batches: number; first_step: number } {
    const { round_start, batches, step } = this.#state;
    return { batches: batches - (round_start?.batches ?? batches), first_step: round_start?.step ?? step };
  }

  /** A batch of which nothing was left to train on. */
  async passBatch(): Promise<void> {
    await this.#reach({ batches: this.#state.batches + 1 });
  }

  /** One optimiser step, measured. `describe` adds what the objective knows of it. */
  async update(
    batch: UpdateBatch,
    place: StepPlace,
    describe?: (result: UpdateResult) => Record<string, number>,
  ): Promise<void> {
    const { engine, train, output, log, signal } = this.#context;
    await this.#evaluateWhenDue(); // a run that was ended between a step and its evaluation
    const started = this.#context.now();
    const result = await engine.update(batch, {
      learning_rate: place.learning_rate,
      max_grad_norm: train.max_grad_norm,
      signal,
    });
    const seconds = this.#context.now() - started;
    const state = this.#after(result);
    await output.metrics({
      step: state.step,
      round: state.round,
      epoch: place.epoch,
      loss: result.loss,
      ...describe?.(result),
      grad_norm: result.grad_norm,
      learning_rate: place.learning_rate,
      num_tokens: state.num_tokens,
      tokens_per_second: result.num_tokens / seconds,
      skipped_steps: state.skipped_steps,
      'memory/peak_bytes': await this.#context.peakBytes(),
      'time/update': seconds,
      'time/data': place.waited,
    });
    if (result.skipped)
      log.warn(
        `step ${state.step} was skipped: loss ${result.loss}, gradient norm ${result.grad_norm}; no weight was changed`,
      );
    if (state.skips_in_a_row >= MAX_SKIPS_IN_A_ROW) {
      await output.failedBatch(state.step, batch);
      throw new GleanerError(
        'ERR_GLEANER_NUMERIC',
        `${MAX_SKIPS_IN_A_ROW} steps in a row, the last of them step ${state.step}, had a loss or gradient that is not a finite number`,
        'Lower the learning rate, keep max_grad_norm set, and look at the last finite lines of metrics.jsonl and at the batch that was saved.',
      );
    }
    await this.#reach(state);
    await this.#evaluateWhenDue();
  }

  #after(result: UpdateResult): RunState {
    const { step, batches, num_tokens, skipped_steps, skips_in_a_row } = this.#state;
    return {
      ...this.#state,
      step: step + 1,
      batches: batches + 1,
      num_tokens: num_tokens + result.num_tokens,
      skipped_steps: skipped_steps + (result.skipped ? 1 : 0),
      skips_in_a_row: result.skipped ? skips_in_a_row + 1 : 0,
    };
  }

  /** Held-out prompts are answered, to be read beside those of other rounds, and scored. Once for each state of the weights. */
  async showAndEvaluate(): Promise<void> {
    await this.#evaluateWhenDue();
    const { step, answered_at, baseline } = this.#state;
    if (answered_at !== step) {
      const started = this.#context.now();
      const { generations, metrics } = await this.#heldOut.answer();
      if (generations.length > 0) {
        await this.#context.output.samples(step, generations);
        await this.#context.output.metrics({ step, ...metrics, 'time/evaluation': this.#context.now() - started });
      }
      await this.#reach({
        answered_at: step,
        baseline: answered_at === -1 ? generations.map(({ response_ids }) => [...response_ids]) : baseline,
      });
    }
    await this.#evaluate();
  }

  async #evaluateWhenDue(): Promise<void> {
    const { every } = this.#context.evaluation;
    const { step } = this.#state;
    if (every !== null && step > 0 && step % every === 0 && step < this.#totalSteps) await this.#evaluate();
  }

  async #evaluate(): Promise<void> {
    const { step, evaluated_at, baseline } = this.#state;
    if (this.#heldOut.isEmpty || evaluated_at === step) return;
    const started = this.#context.now();
    const metrics = await this.#heldOut.measure(baseline);
    await this.#context.output.metrics({ step, ...metrics, 'time/evaluation': this.#context.now() - started });
    await this.#reach({ evaluated_at: step });
  }
}
