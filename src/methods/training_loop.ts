// The part of a run that every method shares: count steps, measure them, skip what is not finite, evaluate in between.

import { GleanerError } from '../common/errors.js';
import { seedFor } from '../common/philox.js';
import type { UpdateBatch, UpdateResult } from '../engine/types.js';
import { HeldOut } from './held_out.js';
import type { Context, Generation, Metrics, PlannedRound } from './method.js';

/** A run whose loss stays infinite for this many steps has left the road for good. */
const MAX_SKIPS_IN_A_ROW = 10;

export interface StepPlace {
  round: number;
  epoch: number;
  learning_rate: number;
}

export class TrainingLoop {
  step = 0;
  readonly #context: Context;
  readonly #heldOut: HeldOut;
  readonly #totalSteps: number;
  #numTokens = 0;
  #skippedSteps = 0;
  #skipsInARow = 0;
  #evaluatedAt = -1;
  #answeredAt = -1;

  constructor(context: Context, rounds: readonly PlannedRound[]) {
    this.#context = context;
    this.#heldOut = new HeldOut(context, seedFor(context.seed, 'held_out'));
    this.#totalSteps = rounds.reduce((sum, round) => sum + round.steps, 0);
  }

  /** One optimiser step, measured. `describe` adds what the objective knows of it. */
  async update(
    batch: UpdateBatch,
    place: StepPlace,
    describe?: (result: UpdateResult) => Record<string, number>,
  ): Promise<void> {
    const { engine, train, output, log, signal } = this.#context;
    const started = this.#context.now();
    const result = await engine.update(batch, {
      learning_rate: place.learning_rate,
      max_grad_norm: train.max_grad_norm,
      signal,
    });
    const seconds = this.#context.now() - started;
    ++this.step;
    this.#numTokens += result.num_tokens;
    this.#countSkips(result);
    await output.metrics({
      step: this.step,
      round: place.round,
      epoch: place.epoch,
      loss: result.loss,
      ...describe?.(result),
      grad_norm: result.grad_norm,
      learning_rate: place.learning_rate,
      num_tokens: this.#numTokens,
      tokens_per_second: result.num_tokens / seconds,
      skipped_steps: this.#skippedSteps,
      'memory/peak_bytes': await this.#context.peakBytes(),
      'time/update': seconds,
    });
    if (result.skipped)
      log.warn(
        `step ${this.step} was skipped: loss ${result.loss}, gradient norm ${result.grad_norm}; no weight was changed`,
      );
    if (this.#skipsInARow >= MAX_SKIPS_IN_A_ROW) {
      throw new GleanerError(
        'ERR_GLEANER_NUMERIC',
        `${MAX_SKIPS_IN_A_ROW} steps in a row, the last of them step ${this.step}, had a loss or gradient that is not a finite number`,
        'Lower the learning rate, keep max_grad_norm set, and look at the last finite lines of metrics.jsonl.',
      );
    }
    const { every } = this.#context.evaluation;
    if (every !== null && this.step % every === 0 && this.step < this.#totalSteps) await this.evaluate();
  }

  #countSkips(result: UpdateResult): void {
    this.#skipsInARow = result.skipped ? this.#skipsInARow + 1 : 0;
    if (result.skipped) ++this.#skippedSteps;
  }

  /** Work that writes text, timed and reported with the round's number. */
  async generation<Result>(
    round: number,
    work: () => Promise<{ result: Result; generations: readonly Generation[]; metrics: Record<string, number> }>,
  ): Promise<Result> {
    const started = this.#context.now();
    const { result, generations, metrics } = await work();
    const record: Metrics = { step: this.step, round, ...metrics, 'time/generation': this.#context.now() - started };
    await this.#context.output.generations(round, generations);
    await this.#context.output.metrics(record);
    return result;
  }

  /** Answers to held-out prompts, to be read beside those of other rounds; then the evaluation. Once for each state of the weights. */
  async showAndEvaluate(): Promise<void> {
    if (this.#answeredAt !== this.step) {
      this.#answeredAt = this.step;
      const started = this.#context.now();
      const { generations, metrics } = await this.#heldOut.answer();
      if (generations.length > 0) {
        await this.#context.output.samples(this.step, generations);
        await this.#context.output.metrics({
          step: this.step,
          ...metrics,
          'time/evaluation': this.#context.now() - started,
        });
      }
    }
    await this.evaluate();
  }

  async evaluate(): Promise<void> {
    if (this.#heldOut.isEmpty || this.#evaluatedAt === this.step) return;
    this.#evaluatedAt = this.step;
    const started = this.#context.now();
    const metrics = await this.#heldOut.measure();
    await this.#context.output.metrics({
      step: this.step,
      ...metrics,
      'time/evaluation': this.#context.now() - started,
    });
  }
}
