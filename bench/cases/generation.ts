// Sampling at temperature 1 over the whole vocabulary. What is sampled differs between the sides, how much does not: every side makes the
// same number of tokens for the same prompts. The check is on log-probabilities of what gleaner sampled.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from '../../src/engine/engine.js';
import type { GenerateOptions } from '../../src/engine/types.js';
import type { Answer, Case, Goals, OpenOptions, Ours, PeerSpec, Work } from '../case.js';
import { cacheBytes, forwardFlops, type ModelName, passBytes, shapes } from '../model.js';
import { Numbers } from '../rows.js';
import { peersFolder } from '../setup_peers.js';
import { timed } from '../timed.js';

export interface Generation {
  model: ModelName;
  prompts: number;
  /** Sequences at once. */
  batch: number;
  new_tokens: number;
  /** Answers end by themselves, after so many tokens in the mean. */
  mean_length?: number;
}

const SEED = 3;
const CHECKED_ROWS = 4;
const FIRST = 8;

export const HF = 'transformers generate';
export const LLAMA_CPP = 'node-llama-cpp';

const hf: PeerSpec = { name: HF, runtime: 'python', script: 'generate.py', settings: {} };
const llamaCpp: PeerSpec = {
  name: LLAMA_CPP,
  runtime: 'node',
  script: 'llamacpp.ts',
  settings: { modules: peersFolder().modules },
};

function generationCase(name: string, work: Generation, more: Partial<Case> & { ratio: Goals['ratio'] }): Case {
  const { model, prompts, batch, new_tokens, mean_length } = work;
  const { ratio, ...rest } = more;
  const lengths =
    mean_length === undefined
      ? `${new_tokens} new tokens`
      : `EOS on, geometric lengths around ${mean_length}, at most ${new_tokens}`;
  return {
    kind: 'rounds',
    name: `generate-${name}`,
    group: 'generation',
    about: `${model}, ${prompts === 1 ? 'a prompt of 64 tokens' : `${prompts} prompts of 32–128 tokens`}, ${batch} at once, ${lengths}, temperature 1; tokens/s are new tokens`,
    peers: mean_length === undefined ? [hf, llamaCpp] : [hf],
    tolerances: { token_logprobs: 1e-4, first_logprobs: 1e-3 },
    goals: ratio ? { ratio } : {},
    budget_seconds: 45,
    ...rest,
    open: (options) => openGeneration(work, options),
  };
}

export async function openGeneration(work: Generation, options: OpenOptions): Promise<Ours> {
  const plain = await options.model(work.model);
  const model = work.mean_length === undefined ? plain : await withEnds(plain, work.mean_length);
  const engine = await Engine.load(model, { threads: options.threads });
  const { vocab } = shapes[work.model];
  const numbers = new Numbers(SEED, 0);
  const prompts = Array.from({ length: work.prompts }, (_, i) => ({
    sample_id: i,
    prompt_ids: numbers.ids(work.prompts === 1 ? 64 : 32 + Math.round((96 * (i % 16)) / 15), vocab),
  }));
  const settings: GenerateOptions = {
    max_new_tokens: work.new_tokens,
    temperature: 1,
    top_p: 1,
    top_k: 0,
    seed: SEED,
    eos_token_ids: work.mean_length === undefined ? [] : [EOS],
    batch_size: work.batch,
  };
  // The numbers drawn depend on seed and sample alone: every round samples this again.
  const rows = await engine.generate(prompts, settings);
  const lengths = rows.map(({ response_ids }) => response_ids.length);
  const total = lengths.reduce((a, b) => a + b, 0);
  const check = rows.slice(0, CHECKED_ROWS).map(({ response_ids }, i) => ({
    prompt_ids: prompts[i]?.prompt_ids ?? [],
    response_ids: [...response_ids],
  }));
  const spans = prompts.map(({ prompt_ids }, i) => ({ tokens: prompt_ids.length + (lengths[i] ?? 1) - 1, before: 0 }));
  const cached = prompts.reduce(
    (sum, { prompt_ids }, i) => sum + (lengths[i] ?? 0) * (prompt_ids.length + (lengths[i] ?? 0) / 2),
    0,
  );
  const bytes = (total / work.batch) * passBytes(engine.spec) + cacheBytes(engine.spec, cached);
  return {
    peerLoad: { model, threads: options.threads, settings: {} },
    peerRows: () => ({ batch: work.batch, prompts: prompts.map(({ prompt_ids }) => prompt_ids), lengths, check }),
    work: (): Work => ({ tokens: total, flops: forwardFlops(engine.spec, spans, total), bytes, items: work.prompts }),
    run: async (): Promise<Answer> => {
      const { result, ...times } = await timed(() => engine.generate(prompts, settings));
      const token_logprobs = result.slice(0, CHECKED_ROWS).flatMap(({ full_logprobs }) => [...full_logprobs]);
      return {
        ...times,
        checks: { token_logprobs, first_logprobs: token_logprobs.slice(0, FIRST) },
        tokens: spans.reduce((sum, { tokens }) => sum + tokens, 0),
      };
    },
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

const EOS = 0;

/** GPT-NeoX whose EOS has one probability everywhere: one output of the last norm is a constant, and EOS's row reads it alone. */
async function withEnds(model: string, mean: number): Promise<string> {
  const folder = `${model}-ends-${mean}`;
  if (existsSync(join(folder, 'model.safetensors'))) return folder;
  await using engine = await Engine.load(model, { threads: 1 });
  const tensors = await engine.readTensors();
  const of = (name: string) => {
    const found = tensors.get(name);
    if (!found) throw new RangeError(`the model has no ${name}`);
    return found;
  };
  of('gpt_neox.final_layer_norm.weight')[0] = 0;
  of('gpt_neox.final_layer_norm.bias')[0] = 1;
  const { hidden, vocab } = engine.spec;
  const head = of('embed_out.weight')
    .subarray(EOS * hidden, (EOS + 1) * hidden)
    .fill(0);
  // The other logits are about 0 with a variance of 0.02² × hidden.
  head[0] = Math.log(vocab) + (0.02 ** 2 * hidden) / 2 - Math.log(mean - 1);
  await engine.writeTensors(tensors);
  await engine.save(folder);
  return folder;
}

const one = { prompts: 1, batch: 1, new_tokens: 128 };
const sixteen = { prompts: 16, batch: 16, new_tokens: 128 };
const many = { prompts: 64, batch: 64, new_tokens: 128 };
/** The peers take 10 to 40 s a round. */
const slow = { threads: [2], budget_seconds: 60 };

export const generation: readonly Case[] = [
  generationCase(
    '14m-1',
    { model: '14m', ...one },
    { ratio: { [HF]: 7, [LLAMA_CPP]: 1.3 }, quick: true, budget_seconds: 25 },
  ),
  generationCase('70m-1', { model: '70m', ...one }, { ratio: { [HF]: 3.3, [LLAMA_CPP]: 1.3 } }),
  generationCase(
    '160m-1',
    { model: '160m', ...one },
    { ratio: undefined, ...slow, goals: { share_of_bandwidth: 0.85 } },
  ),
  generationCase(
    'llama15m-1',
    { model: 'llama15m', ...one },
    { ratio: { [HF]: 5, [LLAMA_CPP]: 1.3 }, budget_seconds: 25 },
  ),
  generationCase('14m-16', { model: '14m', ...sixteen }, { ratio: { [HF]: 15, [LLAMA_CPP]: 5 }, quick: true }),
  generationCase('70m-16', { model: '70m', ...sixteen }, { ratio: { [HF]: 7, [LLAMA_CPP]: 5 } }),
  generationCase('llama15m-16', { model: 'llama15m', ...sixteen }, { ratio: { [HF]: 10, [LLAMA_CPP]: 5 } }),
  generationCase('14m-64', { model: '14m', ...many }, { ratio: { [LLAMA_CPP]: 5 }, ...slow }),
  generationCase('70m-64', { model: '70m', ...many }, { ratio: { [LLAMA_CPP]: 5 }, ...slow }),
  generationCase('llama15m-64', { model: 'llama15m', ...many }, { ratio: { [LLAMA_CPP]: 5 }, ...slow }),
  generationCase(
    '14m-uneven',
    { model: '14m', prompts: 32, batch: 16, new_tokens: 256, mean_length: 80 },
    { ratio: { [HF]: 27 }, ...slow },
  ),
];
