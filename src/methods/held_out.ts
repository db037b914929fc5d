// Evaluation inside a run, on demonstrations that are not trained on: their loss, and how much likelier they are than what the base wrote.

import type { GeneratedRow, TokenIds } from '../engine/types.js';
import type { Context, Generation } from './method.js';
import { type Demonstration, generationOf, sample } from './pairs.js';

export interface Answers {
  generations: Generation[];
  metrics: Record<string, number>;
}

export class HeldOut {
  /** The prompts that are also answered. */
  readonly #asked: Demonstration[];

  constructor(
    private readonly context: Context,
    private readonly seed: number,
  ) {
    const { held_out, generation, evaluation, max_positions } = context;
    const fits = held_out
      .map((row, index) => ({ row, index }))
      .filter(({ row }) => row.prompt_ids.length + generation.max_new_tokens <= max_positions);
    this.#asked = fits.slice(0, evaluation.samples);
  }

  get isEmpty(): boolean {
    return this.context.held_out.length === 0;
  }

  /** Held-out prompts answered with today's weights. The seed is the same each time. */
  async answer(): Promise<Answers> {
    if (this.#asked.length === 0) return { generations: [], metrics: {} };
    const answers = await sample(this.context, this.#asked, this.seed);
    const generations = answers.flatMap((answer, place) => {
      const demonstration = this.#asked[place];
      return demonstration ? [generationOf(demonstration, answer)] : [];
    });
    const rewards = await this.context.reward?.(generations);
    return {
      generations,
      metrics: { ...describeAnswers(answers), ...(rewards ? { 'eval/reward': mean(rewards) } : {}) },
    };
  }

  /**
   * eval/loss: nats per token over all held-out answers. eval/logp_gap: mean of log π(y) − log π(ỹ), sums, over the prompts that were answered;
   * ỹ is the baseline's answer, fixed for the run, so that the gap has one meaning from the first step to the last.
   */
  async measure(baseline: readonly TokenIds[]): Promise<Record<string, number>> {
    const { engine, held_out, signal } = this.context;
    const answered = baseline.map((response_ids, place) => {
      const row = this.#asked[place]?.row;
      return { id: row?.id ?? '', prompt_ids: row?.prompt_ids ?? [], response_ids };
    });
    const scored = await engine.score([...held_out, ...answered], { signal });
    const real = scored.slice(0, held_out.length);
    const tokens = held_out.reduce((sum, row) => sum + row.response_ids.length, 0);
    const metrics: Record<string, number> = { 'eval/loss': -real.reduce((sum, row) => sum + row.logprob, 0) / tokens };
    if (answered.length > 0) {
      const gaps = scored.slice(held_out.length).map((generated, place) => {
        const index = this.#asked[place]?.index ?? -1; // prompts without room for an answer were not asked
        return (real[index]?.logprob ?? Number.NaN) - generated.logprob;
      });
      metrics['eval/logp_gap'] = mean(gaps);
    }
    return metrics;
  }
}

function describeAnswers(answers: readonly GeneratedRow[]): Record<string, number> {
  const pairs = new Set<string>();
  let numPairs = 0;
  for (const { response_ids } of answers) {
    for (let place = 1; place < response_ids.length; ++place, ++numPairs)
      pairs.add(`${response_ids[place - 1]} ${response_ids[place]}`);
  }
  return {
    'eval/response_tokens': mean(answers.map((answer) => answer.response_ids.length)),
    'eval/eos_rate': mean(answers.map((answer) => (answer.finish_reason === 'eos' ? 1 : 0))),
    ...(numPairs > 0 ? { 'eval/distinct_2': pairs.size / numPairs } : {}),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
