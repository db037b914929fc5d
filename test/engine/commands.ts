// Every command of an engine, callable in one way, and what its answer comes down to: for every_command.test.ts and its worker threads.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { errorCodes } from '../../src/common/errors.js';
import type { Engine } from '../../src/engine/engine.js';
import { treesOfRows } from '../../src/engine/forest.js';
import type { GenerateOptions, UpdateBatch } from '../../src/engine/types.js';
import { adamw, sftObjective, trainingOptions, withGolden } from '../support/engines.js';
import { demonstrations, somePairs } from '../support/pairs.js';

export const rows = demonstrations(6);
export const pairs = somePairs().slice(0, 4);
export const prompts = rows.slice(0, 3).map(({ prompt_ids }, sample_id) => ({ prompt_ids, sample_id }));
export const sampling: GenerateOptions = {
  max_new_tokens: 6,
  temperature: 1,
  top_p: 1,
  top_k: 0,
  seed: 1,
  eos_token_ids: [],
};
export const step = { learning_rate: 1e-2, max_grad_norm: 1 };
export const sft: UpdateBatch = { objective: { name: 'sft' }, rows };
export const pairObjective = { name: 'pair', loss: 'logistic', beta: 0.1, nll_weight: 0 } as const;
export const pair: UpdateBatch = { objective: pairObjective, pairs };
export const custom: UpdateBatch = {
  objective: {
    name: 'custom',
    denominator: 'targets',
    compute: (_, logprobs) => ({ loss: 1, dlogprobs: logprobs.map((values) => values.map(() => -1)) }),
  },
  rows,
};
/** Small micro-batches, so that most commands are many for the engine thread. */
export const training = { ...trainingOptions, optimizer: adamw, micro_batch_tokens: 40 };

/** The names of Engine's methods: a new one without a line below does not compile. */
type Method = {
  [Key in keyof Engine]: Engine[Key] extends (...args: never[]) => unknown ? Key : never;
}[keyof Engine];

type Command = (engine: Engine, folder: string) => Promise<unknown>;

/** `folder` is one that `prepared` has filled; nothing in it changes, what is written goes beside it. */
const methods: Record<Exclude<Method, 'close' | typeof Symbol.asyncDispose>, Command> = {
  prepareTraining: (engine) => engine.prepareTraining(training),
  score: (engine) => engine.score(rows),
  scoreTrees: (engine) => engine.scoreTrees(treesOfRows(rows, 64)),
  logits: (engine) => engine.logits([3, 4, 5]),
  generate: (engine) => engine.generate(prompts, { ...sampling, onToken: () => undefined }),
  update: (engine) => engine.update(sft, step),
  gradients: (engine) => engine.gradients(pair),
  gradientsOfTrees: (engine) => engine.gradientsOfTrees(treesOfRows(rows, 64), sftObjective(10)),
  readTensors: (engine) => engine.readTensors(),
  writeTensors: (engine) =>
    engine.writeTensors(
      new Map(
        engine.description.tensors.map(({ name, shape }) => [
          name,
          new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.01),
        ]),
      ),
    ),
  resetOptimizer: (engine) => engine.resetOptimizer(),
  withInitialWeights: (engine) => engine.withInitialWeights(() => engine.score(rows)),
  markRound: (engine) => engine.markRound(),
  withRoundWeights: (engine) => engine.withRoundWeights(() => engine.score(rows)),
  save: (engine, folder) => engine.save(join(folder, '..', 'written', 'model')),
  saveTrainingState: (engine, folder) =>
    engine.saveTrainingState(join(folder, '..', 'written', 'state'), { weights: true }),
  loadTrainingState: (engine, folder) => engine.loadTrainingState(join(folder, 'state')),
  saveRoundWeights: (engine, folder) => engine.saveRoundWeights(join(folder, '..', 'written', 'round')),
  loadRoundWeights: (engine, folder) => engine.loadRoundWeights(join(folder, 'round')),
  loadWeights: (engine, folder) => engine.loadWeights(join(folder, 'model')),
  memory: (engine) => engine.memory(),
};

export const commands: ReadonlyMap<string, Command> = new Map([
  ...Object.entries(methods),
  ['update with pairs', (engine: Engine) => engine.update(pair, step)],
  ['update with an objective of the caller’s own', (engine: Engine) => engine.update(custom, step)],
]);

/** Fills a folder with a model, a state and a round; the engine stands where they were saved. */
export async function prepared(engine: Engine, folder: string): Promise<void> {
  await engine.prepareTraining(training);
  await engine.update(sft, step);
  await engine.markRound();
  await engine.update(pair, step);
  await engine.save(join(folder, 'model'));
  await engine.saveTrainingState(join(folder, 'state'), { weights: true });
  await engine.saveRoundWeights(join(folder, 'round'));
}

/** Back to where `prepared` left it, whatever happened since. */
export async function restored(engine: Engine, folder: string): Promise<void> {
  await engine.prepareTraining(training);
  await engine.loadTrainingState(join(folder, 'state'));
  await engine.loadRoundWeights(join(folder, 'round'));
}

/** What an engine answers to a bit of everything; the same for any two that are all right. */
export async function probe(engine: Engine, folder: string): Promise<unknown> {
  await restored(engine, folder);
  const gradients = [...(await engine.readTensors(true)).values()];
  return {
    empty: gradients.every((values) => values.every((value) => value === 0)),
    first: await engine.update(sft, step),
    second: await engine.update(custom, step),
    scored: await engine.score(rows),
    written: await engine.generate(prompts, sampling),
    initial: await engine.withInitialWeights(() => engine.score(rows)),
    round: await engine.withRoundWeights(() => engine.score(rows)),
  };
}

/** Engines that stand where `prepared` leaves them, and what is asked of them afterwards. */
export function preparedEngines(place: string) {
  const folder = join(place, 'prepared');
  const withPrepared = <T>(work: (engine: Engine) => Promise<T>): Promise<T> =>
    withGolden('llama-gqa', {}, async (engine) => {
      await prepared(engine, folder);
      return work(engine);
    });
  let wanted: string | undefined;
  const assertRight = async (engine: Engine, after: string): Promise<void> => {
    wanted ??= await withPrepared(async (fresh) => digest(await probe(fresh, folder)));
    assert.equal(digest(await probe(engine, folder)), wanted, `the engine is another after ${after}`);
  };
  return { folder, withPrepared, assertRight };
}

const PATIENCE_MS = 60_000;

/** The answer's hash, or its error's code. Throws when there is neither in time, or an error that is not one of ours. */
export async function outcome(name: string, work: () => Promise<unknown>): Promise<string> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} hangs`)), PATIENCE_MS);
  });
  const answer = async () => {
    try {
      return digest(await work());
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      const ours =
        error instanceof Error && error.name === 'GleanerError' && errorCodes.some((known) => known === code);
      const abort = code === 'ABORT_ERR' && error instanceof Error && error.name === 'AbortError';
      if (!(ours || abort) || code === 'ERR_GLEANER_INTERNAL')
        throw new Error(`${name}: an error that is not one of ours: ${error}`, { cause: error });
      return String(code);
    }
  };
  try {
    return await Promise.race([answer(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Equal for equal values, to the bit. */
export function digest(value: unknown): string {
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (ArrayBuffer.isView(item)) return Buffer.from(item.buffer, item.byteOffset, item.byteLength).toString('hex');
    return item instanceof Map ? [...item] : item;
  });
  return createHash('sha256')
    .update(text ?? 'undefined')
    .digest('hex')
    .slice(0, 16);
}
