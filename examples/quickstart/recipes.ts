// The recipes of this example, as plain objects, with the settings that search.ts chose on the dev prompts. `gleaner train` takes the same keys from YAML.

import { defineRecipe, type RecipeInput } from '../../src/index.js';
import { type Demonstrations, files } from './files.js';

export const METHODS = ['sft', 'spin', 'irft'] as const;
export type MethodName = (typeof METHODS)[number];

/** What the search may choose. Every method has the same optimiser, batch size and budget of updates. */
export interface Settings {
  learning_rate: number;
  /** Updates, at most BUDGET. */
  steps: number;
  /** Of each round; default: as many as `steps` allows. */
  epochs?: number;
  spin?: RecipeInput['spin'];
  irft?: RecipeInput['irft'];
}

/** Optimiser steps that a method may take: about five times through 200 demonstrations. */
export const BUDGET = 60;
export const BATCH_SIZE = 16;

export const chosen: Readonly<Record<Demonstrations, Readonly<Record<MethodName, Settings>>>> = {
  clean: {
    sft: { learning_rate: 4.5e-4, steps: 60 },
    spin: { learning_rate: 4.5e-4, steps: 25, epochs: 2, spin: { iterations: 2, beta: 0.1, mix_previous: 0 } },
    irft: { learning_rate: 4.5e-4, steps: 60, irft: { rounds: 1, beta: 0.1, nll_weight: 4 } },
  },
  corrupted: {
    sft: { learning_rate: 4.5e-4, steps: 35 },
    spin: { learning_rate: 3e-4, steps: 40, epochs: 2, spin: { iterations: 2, beta: 0.1, mix_previous: 1 } },
    irft: { learning_rate: 4.5e-4, steps: 30, irft: { rounds: 1, beta: 0.1, nll_weight: 4 } },
  },
};

export interface Start {
  /** Of the base, of the order of the data and of what is sampled. */
  seed: number;
  /** A JSONL file of demonstrations. */
  train: string;
  output: string;
}

export function recipeFor(method: MethodName, settings: Settings, { seed, train, output }: Start): RecipeInput {
  const { learning_rate, steps, epochs = BUDGET, spin, irft } = settings;
  return defineRecipe({
    name: `quickstart-${method}`,
    method,
    model: files.base(seed),
    seed,
    output,
    data: { train, max_length: 128, max_prompt_length: 64 },
    train: {
      batch_size: BATCH_SIZE,
      epochs,
      max_steps: steps,
      optimizer: { name: 'adamw', learning_rate },
      // Constant, so that a run of 30 steps is the first half of one of 60 and the search can look at every stop.
      schedule: { name: 'constant', warmup_steps: 4 },
    },
    generation: { max_new_tokens: 60 },
    evaluation: { every: null, samples: 0 },
    ...(spin ? { spin } : {}),
    ...(irft ? { irft } : {}),
  });
}
