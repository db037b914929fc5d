// The engine as a method sees it in a run: with the plan's batch for sampling, and with word of how far the sampling is.

import type { Engine } from '../engine/engine.js';
import type { GeneratedRow, GenerateOptions, GeneratePrompt, Trainer } from '../engine/types.js';
import type { SamplingPlace, SamplingProgress } from './run_options.js';

export interface Monitor {
  batch_size: number | undefined;
  onSampling?: ((progress: SamplingProgress) => void) | undefined;
  /** Of a round, of which the answers asked for are a part. */
  place(): SamplingPlace | undefined;
  /** A step has changed the weights. */
  onMoved(): void;
}

export function monitored(engine: Engine, monitor: Monitor): Trainer {
  return {
    score: (rows, options) => engine.score(rows, options),
    async update(batch, step) {
      const result = await engine.update(batch, step);
      if (!result.skipped) monitor.onMoved();
      return result;
    },
    resetOptimizer: () => engine.resetOptimizer(),
    withInitialWeights: (work) => engine.withInitialWeights(work),
    markRound: () => engine.markRound(),
    withRoundWeights: (work) => engine.withRoundWeights(work),
    generate(prompts, options) {
      const { batch_size } = monitor;
      return generate(engine, prompts, { ...(batch_size === undefined ? {} : { batch_size }), ...options }, monitor);
    },
  };
}

async function generate(
  engine: Engine,
  prompts: readonly GeneratePrompt[],
  options: GenerateOptions,
  { onSampling, place }: Monitor,
): Promise<GeneratedRow[]> {
  if (!onSampling) return engine.generate(prompts, options);
  const { kept, total } = place() ?? { kept: 0, total: prompts.length };
  const ends = new Set(options.eos_token_ids);
  let done = 0;
  let tokens = 0;
  const tell = () => onSampling({ done: kept + done, total, tokens });
  tell();
  const rows = await engine.generate(prompts, {
    ...options,
    onToken({ token, position }) {
      ++tokens;
      if (ends.has(token) || position + 1 === options.max_new_tokens) ++done;
      tell();
      return undefined;
    },
  });
  done = prompts.length;
  tell();
  return rows;
}
