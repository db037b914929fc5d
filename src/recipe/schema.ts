// The recipe: every key, its default and what it may be. The one place where defaults stand; a method's own section is described by the method.

import { z } from 'zod';
import { formatNames } from '../data/readers.js';
import type { IrftOptions } from '../methods/irft.js';
import { type MethodName, methods } from '../methods/methods.js';
import type { SpinOptions } from '../methods/spin.js';
import { type OptimizerInput, optimizer } from './optimizers.js';

const methodNames = Object.keys(methods) as [MethodName, ...MethodName[]];
const positive = z.int().positive();
const files = z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]);

const data = z.strictObject({
  train: files,
  /** Demonstrations that are not trained on; null: no evaluation. */
  eval: files.nullable().default(null),
  /** auto: by content and ending. */
  format: z.enum(['auto', ...formatNames]).default('auto'),
  template: z.enum(['auto', 'none', 'zephyr', 'chatml']).default('auto'),
  /** auto: as the tokenizer's configuration says. */
  bos: z.enum(['auto', 'always', 'never']).default('auto'),
  /** Tokens of prompt and response together. */
  max_length: positive.default(512),
  /** Tokens that are kept of a prompt which has to be cut. */
  max_prompt_length: positive.default(128),
  shuffle: z.boolean().default(true),
  /** Rows that are read at most; null: all. */
  limit: positive.nullable().default(null),
  eval_limit: positive.nullable().default(null),
});

const schedule = z.strictObject({
  name: z.enum(['linear', 'cosine', 'constant']).default('linear'),
  warmup_ratio: z.number().min(0).max(1).default(0.1),
  /** Wins over warmup_ratio. */
  warmup_steps: z.int().nonnegative().nullable().default(null),
});

const train = z.strictObject({
  /** Sequences or pairs of an optimiser step. */
  batch_size: positive.default(8),
  /** Of each round. */
  epochs: positive.default(2),
  /** Of the whole run. */
  max_steps: positive.nullable().default(null),
  /** auto: from the memory plan. */
  micro_batch_tokens: z.union([z.literal('auto'), positive]).default('auto'),
  /** null: gradients are not clipped. */
  max_grad_norm: z.number().positive().nullable().default(1),
  /** keep or recompute each layer's activations; auto: keep where memory allows. */
  activations: z.enum(['auto', 'keep', 'recompute']).default('auto'),
  optimizer: optimizer.prefault({ name: 'rmsprop' }),
  schedule: schedule.prefault({}),
});

const generation = z.strictObject({
  max_new_tokens: positive.default(256),
  temperature: z.number().nonnegative().default(1),
  top_p: z.number().positive().max(1).default(1),
  /** 0: off. */
  top_k: z.int().nonnegative().default(0),
});

const evaluation = z.strictObject({
  /** Steps between evaluations; null: at the start, after each round and at the end only. */
  every: positive.nullable().default(50),
  /** Held-out prompts that are answered at the start, after each round and at the end. */
  samples: z.int().nonnegative().default(8),
});

const checkpoint = z.strictObject({
  /** Steps between checkpoints, from which --resume goes on; one more at the end of each round. null: only when the run is interrupted. */
  every: positive.nullable().default(200),
  /** The last so many stay. */
  keep: positive.default(2),
  /** The checkpoint with the best value of this metric of the evaluation stays too; null: none. */
  best: z
    .strictObject({
      metric: z.enum(['eval/loss', 'eval/logp_gap']),
      goal: z.enum(['min', 'max']).default('min'),
    })
    .nullable()
    .default(null),
  /** Of the weights in checkpoints/ and final/. */
  dtype: z.enum(['float32', 'float16', 'bfloat16']).default('float32'),
});

const log = z.strictObject({
  /** Steps between lines of metrics.jsonl. */
  every: positive.default(1),
  /** The metrics as event files for TensorBoard, too. */
  tensorboard: z.boolean().default(true),
});

export const recipeSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.-]+$/, 'letters, digits, dots, dashes and underscores')
    .optional(),
  method: z.enum(methodNames),
  /** A Hugging Face folder. */
  model: z.string().min(1),
  /** A folder with tokenizer.json; null: the model's. */
  tokenizer: z.string().min(1).nullable().default(null),
  init: z.enum(['pretrained', 'random']).default('pretrained'),
  /** Reproduces the quirks of the paper's released code; see docs/data.md. */
  paper_compat: z.boolean().default(false),
  seed: z.int().nonnegative().default(42),
  precision: z.enum(['fp32']).default('fp32'),
  backend: z.enum(['auto', 'cpu']).default('auto'),
  threads: z.union([z.literal('auto'), z.int().positive().max(1024)]).default('auto'),
  /** auto: nine tenths of what is free when the run starts. */
  memory_limit_bytes: z.union([z.literal('auto'), positive]).default('auto'),
  /** Default: runs/NAME. */
  output: z.string().min(1).optional(),
  data,
  train: train.prefault({}),
  sft: methods.sft.options.prefault({}),
  spin: methods.spin.options.prefault({}),
  irft: methods.irft.options.prefault({}),
  generation: generation.prefault({}),
  evaluation: evaluation.prefault({}),
  checkpoint: checkpoint.prefault({}),
  log: log.prefault({}),
});

type Parsed = z.output<typeof recipeSchema>;
/** With every default in place. */
export type Recipe = Omit<Parsed, 'name' | 'output'> & { name: string; output: string };

type Section = 'train' | 'sft' | 'spin' | 'irft';
/** As a person writes it: what is left out is a default. docs/recipes.md has every key. */
export type RecipeInput = Omit<z.input<typeof recipeSchema>, Section> & {
  train?: Omit<z.input<typeof train>, 'optimizer'> & { optimizer?: OptimizerInput };
  sft?: Record<string, never>;
  spin?: Partial<SpinOptions>;
  irft?: Partial<IrftOptions>;
};

/** A typed recipe; it is checked when it runs. */
export function defineRecipe(recipe: RecipeInput): RecipeInput {
  return recipe;
}

export function withNames(parsed: Parsed): Recipe {
  const { name = parsed.method, output = `runs/${name}`, ...rest } = parsed;
  return { name, output, ...rest };
}
