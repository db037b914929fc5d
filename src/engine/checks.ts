// Numbers that a caller gives: what is out of range is named here, before it reaches native code.

import { GleanerError } from '../common/errors.js';
import type {
  GenerateOptions,
  GeneratePrompt,
  OptimizerSettings,
  PairLoss,
  PlanSettings,
  StepSettings,
} from './types.js';

/** Throws ERR_GLEANER_USAGE unless `holds`. */
function need(holds: boolean, name: string, value: unknown, wanted: string): void {
  if (!holds) throw new GleanerError('ERR_GLEANER_USAGE', `${name} is ${value}: ${wanted} is needed`);
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

export function checkMemoryLimit(bytes: number): number {
  need(isCount(bytes), 'memory_limit_bytes', bytes, 'a number of bytes, or 0 for no limit,');
  return bytes;
}

/** Most tokens that a micro-batch or a path can have: native counts rows in 32 bits. */
const isLength = (value: number): boolean => isCount(value) && value > 0 && value < 2 ** 31;

export function checkSeed(seed: number): number {
  need(Number.isSafeInteger(seed), 'seed', seed, 'a whole number');
  return seed;
}

export function checkPlan({ training, generation }: PlanSettings): void {
  const length = (name: string, value: number) =>
    need(isLength(value), name, value, 'a whole number from 1 to 2^31 - 1');
  if (training) {
    length('micro_batch_tokens', training.micro_batch_tokens);
    length('max_length', training.max_length);
  }
  if (generation) {
    length('batch_size', generation.batch_size);
    length('max_length', generation.max_length);
  }
}

const pairLosses: readonly PairLoss[] = ['logistic', 'hinge', 'linear'];

export function checkPair({ loss, beta, nll_weight }: { loss: PairLoss; beta: number; nll_weight: number }): void {
  need(pairLosses.includes(loss), 'loss', loss, `one of ${pairLosses.join(', ')}`);
  need(Number.isFinite(beta), 'beta', beta, 'a number');
  need(Number.isFinite(nll_weight) && nll_weight >= 0, 'nll_weight', nll_weight, 'a number from 0');
}

export function checkTraining(options: {
  optimizer: OptimizerSettings;
  micro_batch_tokens: number;
  max_length: number;
}): void {
  const { optimizer, micro_batch_tokens, max_length } = options;
  need(isLength(micro_batch_tokens), 'micro_batch_tokens', micro_batch_tokens, 'a whole number from 1 to 2^31 - 1');
  need(isLength(max_length), 'max_length', max_length, 'a whole number from 1 to 2^31 - 1');
  const { eps, weight_decay } = optimizer;
  need(Number.isFinite(eps) && eps >= 0, 'eps', eps, 'a number from 0');
  need(Number.isFinite(weight_decay) && weight_decay >= 0, 'weight_decay', weight_decay, 'a number from 0');
  if (optimizer.name === 'adamw')
    for (const beta of optimizer.betas) need(beta >= 0 && beta < 1, 'betas', beta, 'a number from 0 and below 1');
  else need(optimizer.alpha >= 0 && optimizer.alpha <= 1, 'alpha', optimizer.alpha, 'a number from 0 to 1');
}

export function checkGenerate(prompts: readonly GeneratePrompt[], options: GenerateOptions): void {
  const { max_new_tokens, temperature, top_p, top_k, seed, batch_size = 1 } = options;
  need(isCount(max_new_tokens), 'max_new_tokens', max_new_tokens, 'a whole number from 0');
  need(Number.isFinite(temperature) && temperature >= 0, 'temperature', temperature, 'a number from 0');
  need(top_p >= 0 && top_p <= 1, 'top_p', top_p, 'a number from 0 to 1');
  need(isCount(top_k) && top_k < 2 ** 31, 'top_k', top_k, 'a whole number from 0 (off)');
  need(Number.isSafeInteger(seed), 'seed', seed, 'a whole number');
  need(isCount(batch_size) && batch_size > 0, 'batch_size', batch_size, 'a whole number from 1');
  for (const { sample_id } of prompts) need(isCount(sample_id), 'sample_id', sample_id, 'a whole number from 0');
}

/** The step as native takes it. A learning rate that is no number would make every weight none. */
export function checkedStep({ learning_rate, max_grad_norm }: StepSettings): {
  learning_rate: number;
  max_grad_norm: number;
} {
  need(Number.isFinite(learning_rate) && learning_rate >= 0, 'learning_rate', learning_rate, 'a number from 0');
  need(
    max_grad_norm === null || max_grad_norm >= 0,
    'max_grad_norm',
    max_grad_norm,
    'a number from 0, or null for no clipping,',
  );
  return { learning_rate, max_grad_norm: max_grad_norm ?? 0 };
}
