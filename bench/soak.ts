// Trains and samples in turn on a small model for a while, and says whether memory grows:
//   npm run soak -- --minutes 20
// A table of the process's and the engine's bytes, one JSON line, exit code 1 when either grew by 1 % or more after the warm-up.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import Table from 'cli-table3';
import { Engine } from '../src/engine/engine.js';
import type { PairRow } from '../src/engine/types.js';
import { commit } from './machine.js';
import { Numbers } from './rows.js';

const VOCAB = 2048;
const MAX_LENGTH = 256;
const ROWS = 16;
/** Share of the time that is warm-up: buffers, compiled code and the allocator find their sizes. */
const WARM_UP = 0.25;
/** Growth is measured between the first and the last such share of what follows. */
const WINDOW = 0.2;
const MOST_PERCENT = 1;
const SAMPLE_SECONDS = 5;

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: VOCAB,
  hidden_size: 96,
  num_hidden_layers: 4,
  num_attention_heads: 6,
  num_key_value_heads: 3,
  intermediate_size: 256,
  max_position_embeddings: 512,
  initializer_range: 0.05,
  eos_token_id: 1,
};
const optimizer = { name: 'adamw', learning_rate: 1e-4, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 } as const;
const training = { optimizer, activations: 'keep', micro_batch_tokens: 1024, max_length: MAX_LENGTH } as const;

interface Sample {
  seconds: number;
  rss_bytes: number;
  heap_bytes: number;
  engine_bytes: number;
}

/** Collects the garbage of JavaScript, where V8 lets us: what is left is held by someone. */
function collector(): () => void {
  setFlagsFromString('--expose-gc');
  const gc: unknown = runInNewContext('typeof gc === "function" ? gc : undefined');
  return () => {
    if (typeof gc === 'function') for (let i = 0; i < 2; ++i) gc();
  };
}

/** One round: answers to prompts, references, some steps on the pairs, the round's and the initial weights, a state to disk and back. */
async function round(engine: Engine, numbers: Numbers, folder: string, index: number): Promise<void> {
  const draw = (most: number) => 1 + Math.floor(numbers.unit() * most);
  const ids = (count: number) => Array.from({ length: count }, () => 2 + Math.floor(numbers.unit() * (VOCAB - 2)));
  const rows = Array.from({ length: ROWS }, (_, i) => ({
    id: `${i}`,
    prompt_ids: ids(draw(100)),
    response_ids: ids(draw(100)),
  }));
  await engine.markRound();
  const prompts = rows.map(({ prompt_ids }, sample_id) => ({ prompt_ids, sample_id }));
  const sampling = {
    max_new_tokens: draw(100),
    temperature: 1,
    top_p: 0.95,
    top_k: 0,
    seed: index,
    eos_token_ids: [1],
  };
  const generated = await engine.generate(prompts, { ...sampling, onToken: ({ token }) => token === 7 });
  const real = await engine.score(rows);
  const pairs = rows.map(
    ({ id, prompt_ids, response_ids }, i): PairRow => ({
      id,
      prompt_ids,
      real_ids: response_ids,
      generated_ids: generated[i]?.response_ids ?? [],
      ref_real: real[i]?.logprob ?? 0,
      ref_generated: generated[i]?.logprob ?? 0,
    }),
  );
  const objective = { name: 'pair', loss: 'logistic', beta: 0.1, nll_weight: 0 } as const;
  for (let step = 0; step < 4; ++step) {
    const half = pairs.filter((_, i) => i % 2 === step % 2);
    await engine.update({ objective, pairs: half }, { learning_rate: optimizer.learning_rate, max_grad_norm: 1 });
  }
  await engine.withRoundWeights(() => engine.score(rows));
  await engine.withInitialWeights(() => engine.score(rows));
  if (index % 10 !== 0) return;
  await engine.saveTrainingState(join(folder, 'state'), { weights: true });
  await engine.loadTrainingState(join(folder, 'state'));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

/** Percent by which the median of the last window is above that of the first after the warm-up. */
function growth(samples: readonly Sample[], seconds: number, bytes: (sample: Sample) => number): number {
  const measured = seconds * (1 - WARM_UP);
  const within = (from: number, to: number) =>
    median(samples.filter((sample) => sample.seconds >= from && sample.seconds <= to).map(bytes));
  const first = within(seconds * WARM_UP, seconds * WARM_UP + measured * WINDOW);
  const last = within(seconds - measured * WINDOW, Number.POSITIVE_INFINITY);
  return (100 * (last - first)) / first;
}

const megabytes = (bytes: number) => (bytes / 1e6).toFixed(1);

/** A line a minute: the medians of its samples. */
function table(samples: readonly Sample[]): string {
  const out = new Table({
    head: ['minute', 'process MB', 'JavaScript heap MB', 'engine MB'],
    style: { head: [], border: [] },
  });
  const minutes = new Set(samples.map(({ seconds }) => Math.floor(seconds / 60)));
  for (const minute of minutes) {
    const members = samples.filter(({ seconds }) => Math.floor(seconds / 60) === minute);
    const shown = (bytes: (sample: Sample) => number) => megabytes(median(members.map(bytes)));
    out.push([
      String(minute),
      shown(({ rss_bytes }) => rss_bytes),
      shown(({ heap_bytes }) => heap_bytes),
      shown(({ engine_bytes }) => engine_bytes),
    ]);
  }
  return out.toString();
}

async function soak(minutes: number, threads: number, folder: string) {
  const collect = collector();
  await mkdir(join(folder, 'config'));
  await writeFile(join(folder, 'config', 'config.json'), JSON.stringify(config));
  await using engine = await Engine.load(join(folder, 'config'), { init: 'random', seed: 1, threads });
  await engine.prepareTraining(training);
  const numbers = new Numbers(20, 0);
  const samples: Sample[] = [];
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1e3;
  let rounds = 0;
  for (let next = 0; elapsed() < minutes * 60; ++rounds) {
    await round(engine, numbers, folder, rounds);
    if (elapsed() < next) continue;
    next = elapsed() + Math.min(SAMPLE_SECONDS, minutes);
    collect();
    const { rss, heapUsed } = process.memoryUsage();
    const { current_bytes } = await engine.memory();
    samples.push({ seconds: elapsed(), rss_bytes: rss, heap_bytes: heapUsed, engine_bytes: current_bytes });
  }
  return { rounds, seconds: elapsed(), samples };
}

const { values } = parseArgs({ options: { minutes: { type: 'string' }, threads: { type: 'string' } } });
const minutes = Number(values.minutes ?? 20);
const threads = Number(values.threads ?? 2);
if (!(minutes > 0)) throw new TypeError(`--minutes is ${values.minutes}: a number above 0 is needed`);
const folder = await mkdtemp(join(tmpdir(), 'gleaner-soak-'));
try {
  const { rounds, seconds, samples } = await soak(minutes, threads, folder);
  const percent = {
    process: growth(samples, seconds, ({ rss_bytes }) => rss_bytes),
    engine: growth(samples, seconds, ({ engine_bytes }) => engine_bytes),
  };
  const flat = percent.process < MOST_PERCENT && percent.engine < MOST_PERCENT;
  const result = {
    minutes,
    threads,
    rounds,
    samples: samples.length,
    growth_percent: percent,
    flat,
    rss_bytes: samples.at(-1)?.rss_bytes,
    engine_bytes: samples.at(-1)?.engine_bytes,
    commit: await commit(),
    node: process.version,
  };
  console.log(table(samples));
  console.log(
    `${rounds} rounds; after the warm-up the process grew by ${percent.process.toFixed(2)} %, the engine by ${percent.engine.toFixed(2)} %: ${flat ? 'flat' : 'NOT flat'}`,
  );
  console.log(JSON.stringify(result));
  process.exitCode = flat ? 0 : 1;
} finally {
  await rm(folder, { recursive: true });
}
