// Demonstrations and pairs for a real engine of a golden model, and gradients of log-probs from its SFT gradients.

import assert from 'node:assert/strict';
import type { Engine } from '../../src/engine/engine.js';
import type { PairRow, TokenRow } from '../../src/engine/types.js';
import { randomIds, randomNumbers, type Tensors } from './engines.js';

export const EOS = 2;

export function demonstrations(count = 24): TokenRow[] {
  const random = randomNumbers(41);
  return Array.from({ length: count }, (_, i) => ({
    id: `${i}`,
    prompt_ids: randomIds(random, 3 + (i % 7)),
    response_ids: [...randomIds(random, 2 + (i % 9)), EOS],
  }));
}

/** Pairs whose margins are not 0: real answers against random ones, references off by a few nats. */
export function somePairs(): PairRow[] {
  const random = randomNumbers(42);
  return demonstrations(10).map(({ id, prompt_ids, response_ids }, i) => ({
    id,
    prompt_ids,
    real_ids: response_ids,
    generated_ids: randomIds(random, 3 + (i % 5)),
    ref_real: -4.6 * response_ids.length + 6 * random() - 3,
    ref_generated: -4.6 * (3 + (i % 5)) + 6 * random() - 3,
  }));
}

export const realRow = ({ id, prompt_ids, real_ids }: PairRow): TokenRow => ({
  id,
  prompt_ids,
  response_ids: real_ids,
});
export const generatedRow = ({ id, prompt_ids, generated_ids }: PairRow): TokenRow => ({
  id,
  prompt_ids,
  response_ids: generated_ids,
});
export const countTokens = (rows: readonly TokenRow[]): number =>
  rows.reduce((sum, { response_ids }) => sum + response_ids.length, 0);

/** Σ ∇ log π(response | prompt) over rows, times scale. */
export async function logprobGradient(engine: Engine, rows: readonly TokenRow[], scale: number): Promise<Tensors> {
  const { gradients } = await engine.gradients({ objective: { name: 'sft' }, rows });
  const factor = -countTokens(rows) * scale;
  return new Map([...gradients].map(([name, values]) => [name, values.map((value) => factor * value)]));
}

export function total(...parts: readonly Tensors[]): Tensors {
  const [first, ...others] = parts;
  assert.ok(first);
  return new Map(
    [...first].map(([name, values]) => [
      name,
      values.map((value, i) => others.reduce((sum, part) => sum + (part.get(name)?.[i] ?? 0), value)),
    ]),
  );
}
