// The engine as a method sees it in a run: with the plan's batch for sampling, and with word of how far the sampling is.

import type { Engine } from '../engine/engine.js';
import type { GeneratedRow, GenerateOptions, GeneratePrompt, Trainer } from '../engine/types.js';

export interface SamplingProgress {
  /** Answers that are complete, and asked for. */
  done: number;
  total: number;
  /** Tokens sampled so far. */
  tokens: number;
}

export interface Monitor {
  batch_size: number | undefined;
  onSampling?: ((progress: SamplingProgress) => void) | undefined;
}

export function monitored(engine: Engine, { batch_size, onSampling }: Monitor): Trainer {
  return {
    score: (rows, options) => engine.score(rows, options),
    update: (batch, step) => engine.update(batch, step),
    resetOptimizer: () => engine.resetOptimizer(),
    withInitialWeights: (work) => engine.withInitialWeights(work),
    markRound: () => engine.markRound(),
    withRoundWeights: (work) => engine.withRoundWeights(work),
    generate: (prompts, options) =>
      generate(engine, prompts, { ...(batch_size === undefined ? {} : { batch_size }), ...options }, onSampling),
  };
}

async function generate(
  engine: Engine,
  prompts: readonly GeneratePrompt[],
  options: GenerateOptions,
  onSampling: Monitor['onSampling'],
): Promise<GeneratedRow[]> {
  if (!onSampling) return engine.generate(prompts, options);
  const ends = new Set(options.eos_token_ids);
  let done = 0;
  let tokens = 0;
  onSampling({ done, total: prompts.length, tokens });
  const rows = await engine.generate(prompts, {
    ...options,
    onToken({ token, position }) {
      ++tokens;
      if (ends.has(token) || position + 1 === options.max_new_tokens) ++done;
      onSampling({ done, total: prompts.length, tokens });
      return undefined;
    },
  });
  onSampling({ done: prompts.length, total: prompts.length, tokens });
  return rows;
}
