// What the table says about a model, on prompts that it was not trained on: gold reward at three temperatures, log-probabilities.

import { type GeneratedText, type LanguageModel, loadModel, type Row } from '../../src/index.js';
import { readJsonl } from './files.js';
import { gold } from './gold.js';

/** 0 is greedy. */
export const TEMPERATURES = [1, 0.7, 0] as const;
const MAX_NEW_TOKENS = 60;

export interface Prompts {
  /** Prompts with the careful clerk's answers. */
  rows: readonly Row[];
  /** What the base wrote to the same prompts at temperature 1. */
  baseAnswers: readonly GeneratedText[];
}

export interface Measured {
  /** Gold reward of each answer, one list a temperature. */
  rewards: number[][];
  answers: GeneratedText[];
  /** Nats per token of the careful clerk's answers. */
  nll: number;
  /** Mean of log π(y) − log π(ỹ), ỹ by the base. */
  gap: number;
}

export async function readPrompts(path: string, base: string): Promise<Prompts> {
  const rows = await readJsonl(path);
  await using model = await loadModel(base);
  return { rows, baseAnswers: await answersOf(model, rows, 1) };
}

export async function measure(folder: string, { rows, baseAnswers }: Prompts): Promise<Measured> {
  await using model = await loadModel(folder);
  const answers = await Promise.all(TEMPERATURES.map((temperature) => answersOf(model, rows, temperature)));
  const real = await collect(model.score(rows));
  const written = baseAnswers.map(
    ({ id, prompt_ids, response_ids }): Row => ({ kind: 'ids', id, prompt_ids, response_ids }),
  );
  const generated = await collect(model.score(written));
  return {
    rewards: answers.map((list) => list.map(reward)),
    answers: answers[0] ?? [],
    nll: -sum(real.map(({ logprob }) => logprob)) / sum(real.map(({ num_tokens }) => num_tokens)),
    gap: mean(real.map(({ logprob }, place) => logprob - (generated[place]?.logprob ?? Number.NaN))),
  };
}

/** Mean gold reward at temperature 1, of `num` answers to each prompt. */
export async function meanReward(folder: string, rows: readonly Row[], num: number): Promise<number> {
  await using model = await loadModel(folder);
  return mean((await answersOf(model, rows, 1, num)).map(reward));
}

function answersOf(model: LanguageModel, rows: readonly Row[], temperature: number, num = 1): Promise<GeneratedText[]> {
  return collect(model.generate(rows, { temperature, num, max_new_tokens: MAX_NEW_TOKENS, seed: 1 }));
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const list: Item[] = [];
  for await (const item of items) list.push(item);
  return list;
}

function reward({ prompt, response, finish_reason }: GeneratedText): number {
  return gold(prompt, response, finish_reason === 'eos');
}

/** The share of prompts where `rewards` beats `others`, ties half, and the half width of its 95 % interval. */
export function winRate(rewards: readonly number[], others: readonly number[]): { share: number; interval: number } {
  const wins = rewards.map((value, place) => 0.5 + 0.5 * Math.sign(value - (others[place] ?? Number.NaN)));
  return { share: mean(wins), interval: (1.96 * deviation(wins)) / Math.sqrt(wins.length) };
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

/** Of a sample: n − 1 in the denominator. */
export function deviation(values: readonly number[]): number {
  const middle = mean(values);
  return Math.sqrt(sum(values.map((value) => (value - middle) ** 2)) / Math.max(1, values.length - 1));
}
