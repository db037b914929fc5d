// Numbers that a caller gives: what is out of range is named here, before it reaches native code.

import { GleanerError } from '../common/errors.js';
import type { GenerateOptions, GeneratePrompt, StepSettings } from './types.js';

/** Throws ERR_GLEANER_USAGE unless `holds`. */
function need(holds: boolean, name: string, value: unknown, wanted: string): void {
  if (!holds) throw new GleanerError('ERR_GLEANER_USAGE', `${name} is ${value}: ${wanted} is needed`);
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

export function checkMemoryLimit(bytes: number): number {
  need(isCount(bytes), 'memory_limit_bytes', bytes, 'a number of bytes, or 0 for no limit,');
  return bytes;
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
