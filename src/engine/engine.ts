// The engine's typed façade: one loaded model, commands as promises. Ids and numbers in and out; text lives above.

import { availableParallelism, cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { GleanerError } from '../common/errors.js';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';
import type { Config } from '../models/config.js';
import { openModelFolder, type ParameterSource, readConfigOnly } from '../models/folder.js';
import type { DecoderSpec, ModelDescription } from '../models/spec.js';
import {
  addon,
  type NativeEngine,
  type NativeJob,
  type NativeMicroBatch,
  type NativeObjective,
  type NativeOps,
  type NativeStepResult,
} from './addon.js';
import { checkedStep, checkGenerate, checkMemoryLimit } from './checks.js';
import {
  int32Ids,
  microBatch,
  packTrees,
  type Tree,
  treeOfPair,
  treeOfRow,
  treesOfRows,
  treeTokens,
} from './forest.js';
import { abortError, nativeError } from './native_error.js';
import { checkSameModel } from './same_model.js';
import { writeModelFolder } from './save.js';
import {
  roundToLoad,
  roundToSave,
  type StateToLoad,
  type StateToSave,
  trainingStateToLoad,
  trainingStateToSave,
} from './state.js';
import { joined, nativeObjective, noTargets, required, split, sum, updateResult } from './step.js';
import type {
  GeneratedRow,
  GenerateOptions,
  GeneratePrompt,
  MemoryPlan,
  OptimizerSettings,
  PlanSettings,
  ScoredRow,
  StepSettings,
  TokenRow,
  Trainer,
  UpdateBatch,
  UpdateResult,
} from './types.js';

/** Prompt tokens of one prefill pass. */
const PREFILL_TOKENS = 512;
/** Tokens of one scoring pass when no training was prepared. */
const SCORE_TOKENS = 2048;
const GENERATE_BATCH = 32;

export interface EngineOptions {
  /** Default: as many as the machine has cores. */
  threads?: number | undefined;
  backend?: 'auto' | 'cpu' | undefined;
  isa?: 'auto' | 'portable' | 'avx2' | 'avx512' | undefined;
  /** 0: no limit. */
  memory_limit_bytes?: number | undefined;
  /** random: config.json alone suffices; N(0, initializer_range), seeded. */
  init?: 'pretrained' | 'random' | undefined;
  seed?: number | undefined;
}

export interface TrainingOptions {
  optimizer: OptimizerSettings;
  activations: 'keep' | 'recompute';
  /** Most tokens of one micro-batch. */
  micro_batch_tokens: number;
  /** Longest path (prompt + response). */
  max_length: number;
}

/** What doctor prints. */
export interface EngineInfo {
  backend: 'cpu';
  isa: string;
  cpu: string;
  cores: number;
  memory_bytes: number;
}

export function engineInfo(): EngineInfo {
  return {
    backend: 'cpu',
    isa: addon().cpuInfo().isa,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory_bytes: totalmem(),
  };
}

export class Engine implements Trainer {
  readonly description: ModelDescription;
  readonly threads: number;
  readonly #native: NativeEngine;
  readonly #config: Config;
  readonly #files: readonly string[];
  readonly #initialise: () => NativeJob<void>;
  #training: TrainingOptions | undefined;
  #updating = false;
  /** While an objective of the caller's own stands between its forward and backward, nothing may use the activations' memory. */
  #between: Promise<unknown> | undefined;

  private constructor(
    native: NativeEngine,
    threads: number,
    config: Config,
    description: ModelDescription,
    files: readonly string[],
    initialise: () => NativeJob<void>,
  ) {
    this.#native = native;
    this.threads = threads;
    this.#config = config;
    this.description = description;
    this.#files = files;
    this.#initialise = initialise;
  }

  /** Loads a Hugging Face folder, or, with init: random, makes a model from its config.json. */
  static async load(path: string, options: EngineOptions = {}): Promise<Engine> {
    const ops = nativeOps(options);
    const random = options.init === 'random';
    const folder = random ? { ...(await readConfigOnly(path)), sources: [] } : await openModelFolder(path);
    const native = construct(folder.description.spec, ops, checkMemoryLimit(options.memory_limit_bytes ?? 0));
    const seed = options.seed ?? 0;
    const initialise = random
      ? () => native.fillRandom({ seed, stddev: folder.description.initializer_range })
      : loader(native, folder.sources);
    const engine = new Engine(native, ops.threads, folder.config, folder.description, folder.files, initialise);
    try {
      await settle(initialise);
    } catch (error) {
      await native.close();
      throw error;
    }
    return engine;
  }

  /** Bytes by purpose, before anything is loaded. */
  static plan(spec: DecoderSpec, settings: PlanSettings): MemoryPlan {
    const { training, generation } = settings;
    const request = {
      ...(training ? { training: { ...training } } : {}),
      ...(generation ? { generation: { ...generation, prefill_tokens: PREFILL_TOKENS } } : {}),
    };
    const plan = typed(() => addon().planMemory(spec, request, nativeOps({ threads: settings.threads })));
    if (!training?.keeps_round) return plan;
    return { ...plan, weights: plan.weights + plan.gradients, total_bytes: plan.total_bytes + plan.gradients };
  }

  get spec(): DecoderSpec {
    return this.description.spec;
  }

  /** Gradients, optimiser state and activations are allocated here, as planned. */
  async prepareTraining(options: TrainingOptions): Promise<void> {
    const { optimizer } = options;
    const adamw = optimizer.name === 'adamw';
    await this.#run(() =>
      this.#native.prepareTraining(
        {
          optimizer: optimizer.name,
          activations: options.activations,
          micro_batch_tokens: options.micro_batch_tokens,
          max_length: options.max_length,
        },
        {
          name: optimizer.name,
          beta1: adamw ? optimizer.betas[0] : 0,
          beta2: adamw ? optimizer.betas[1] : 0,
          alpha: adamw ? 0 : optimizer.alpha,
          eps: optimizer.eps,
          weight_decay: optimizer.weight_decay,
        },
      ),
    );
    this.#training = options;
  }

  async score(rows: readonly TokenRow[], options: { signal?: AbortSignal | undefined } = {}): Promise<ScoredRow[]> {
    const scored = await this.scoreTrees(treesOfRows(rows, this.#budget()), options.signal);
    return rows.map((row, i) => {
      const { logprobs, greedy } = scored[i] ?? { logprobs: new Float32Array(), greedy: true };
      return { id: row.id, logprob: sum(logprobs), token_logprobs: logprobs, greedy };
    });
  }

  /** Logprobs of every sequence of the trees, in order. */
  async scoreTrees(
    trees: readonly Tree[],
    signal?: AbortSignal,
  ): Promise<{ logprobs: Float32Array; greedy: boolean }[]> {
    const results: { logprobs: Float32Array; greedy: boolean }[] = [];
    // A few micro-batches a command, so that an abort or another caller never waits long.
    for (const packed of packTrees(trees, this.#budget())) {
      const [answer] = await this.#run(() => this.#native.score([microBatch(packed)]), signal);
      if (!answer) continue;
      let begin = 0;
      for (const { tokens } of packed.flatMap((tree) => tree.sequences)) {
        const end = begin + tokens.length;
        results.push({
          logprobs: answer.logprobs.slice(begin, end),
          greedy: answer.greedy.subarray(begin, end).every((equal) => equal === 1),
        });
        begin = end;
      }
    }
    return results;
  }

  /** Logits at every position of one sequence, [positions][vocab]; for inspection. */
  async logits(ids: readonly number[]): Promise<Float32Array[]> {
    if (ids.length === 0) return [];
    const batch = microBatch([{ segments: [{ parent: -1, ids }], sequences: [], pairs: [] }]);
    const flat = await this.#run(() => this.#native.logits(batch, Int32Array.from(ids.keys())));
    return ids.map((_, i) => flat.slice(i * this.spec.vocab, (i + 1) * this.spec.vocab));
  }

  async generate(prompts: readonly GeneratePrompt[], options: GenerateOptions): Promise<GeneratedRow[]> {
    checkGenerate(prompts, options);
    if (prompts.length === 0) return [];
    const lengths = Int32Array.from(prompts, ({ prompt_ids }) => prompt_ids.length);
    const ids = new Int32Array(sum(lengths));
    let begin = 0;
    for (const { prompt_ids } of prompts) {
      ids.set(int32Ids(prompt_ids), begin);
      begin += prompt_ids.length;
    }
    const settings = {
      max_new_tokens: options.max_new_tokens,
      temperature: options.temperature,
      top_p: options.top_p,
      top_k: options.top_k,
      seed: options.seed,
      eos_ids: int32Ids(options.eos_token_ids),
      stop_ids: int32Ids(options.stop_token_ids ?? []),
      batch_size: Math.min(prompts.length, options.batch_size ?? GENERATE_BATCH),
      // Native names the prompt that is too long; a larger number would not reach it.
      max_length: Math.min(lengths.reduce((a, b) => Math.max(a, b), 0) + options.max_new_tokens, 2 ** 31 - 1),
      prefill_tokens: PREFILL_TOKENS,
    };
    // A caller's stop takes effect some tokens later natively; cutting at the place that it named makes the result exact.
    const stoppedAt = new Map<number, number>();
    const { onToken } = options;
    let task = 0;
    const onTokens =
      onToken &&
      ((events: Int32Array) => {
        for (let i = 0; i < events.length; i += 3) {
          const [prompt = 0, token = 0, position = 0] = events.subarray(i, i + 3);
          if (stoppedAt.has(prompt) || !onToken({ prompt, token, position })) continue;
          stoppedAt.set(prompt, position);
          this.#native.stopPrompt(task, prompt);
        }
      });
    const responses = await this.#run(() => {
      const job = this.#native.generate(
        ids,
        lengths,
        Float64Array.from(prompts, ({ sample_id }) => sample_id),
        settings,
        onTokens,
      );
      task = job.task;
      return job;
    }, options.signal);
    return responses.map((response, i) => {
      const stop = stoppedAt.get(i);
      const length = stop === undefined ? response.response_ids.length : stop + 1;
      const eos = options.eos_token_ids.includes(response.response_ids[length - 1] ?? -1);
      const full_logprobs = response.full_logprobs.slice(0, length);
      return {
        response_ids: response.response_ids.slice(0, length),
        token_logprobs: response.token_logprobs.slice(0, length),
        full_logprobs,
        logprob: sum(full_logprobs),
        finish_reason: stop === undefined ? response.finish_reason : eos ? 'eos' : 'stop',
      };
    });
  }

  async update(batch: UpdateBatch, step: StepSettings): Promise<UpdateResult> {
    const settings = checkedStep(step);
    return this.#alone(async () => {
      const { trees, objective } = this.#prepare(batch);
      const batches = packTrees(trees, this.#budget());
      const result =
        objective === undefined && 'rows' in batch
          ? await this.#customUpdate(batches, batch, settings, step.signal)
          : await this.#run(
              () => this.#native.update(batches.map(microBatch), required(objective), settings),
              step.signal,
            );
      return updateResult(result, batch, batches.length);
    });
  }

  /** Loss and gradients by Hugging Face tensor, without a step; for tests and tools. */
  async gradients(batch: UpdateBatch): Promise<{ result: UpdateResult; gradients: Map<string, Float32Array> }> {
    const { trees, objective } = this.#prepare(batch);
    return this.gradientsOfTrees(trees, required(objective), batch);
  }

  /** The same for trees of the caller's own. */
  async gradientsOfTrees(
    trees: readonly Tree[],
    objective: NativeObjective,
    batch?: UpdateBatch,
  ): Promise<{ result: UpdateResult; gradients: Map<string, Float32Array> }> {
    return this.#alone(async () => {
      const batches = packTrees(trees, this.#budget());
      const result = await this.#run(() => this.#native.accumulate(batches.map(microBatch), objective));
      const gradients = await this.readTensors(true);
      await this.#run(() => this.#native.clearGradients());
      return { result: updateResult(result, batch, batches.length), gradients };
    });
  }

  /** Weights (or gradients) by Hugging Face tensor name, fp32. */
  async readTensors(gradient = false): Promise<Map<string, Float32Array>> {
    const tensors = new Map(
      this.description.tensors.map(({ name, shape }) => [name, new Float32Array(shape.reduce((a, b) => a * b, 1))]),
    );
    for (const parameter of this.description.parameters) {
      const values = await this.#run(() => this.#native.read(parameter.name, gradient));
      const { cols } = parameter;
      for (const slice of parameter.slices) {
        tensors
          .get(slice.tensor)
          ?.set(values.subarray(slice.row * cols, (slice.row + slice.rows) * cols), slice.tensor_row * cols);
      }
    }
    return tensors;
  }

  /** New values for Hugging Face tensors. */
  async writeTensors(tensors: ReadonlyMap<string, Float32Array>): Promise<void> {
    for (const parameter of this.description.parameters) {
      const { cols } = parameter;
      const values = new Float32Array(parameter.rows * cols);
      for (const slice of parameter.slices) {
        const tensor = tensors.get(slice.tensor);
        if (!tensor) throw new GleanerError('ERR_GLEANER_USAGE', `no values were given for tensor ${slice.tensor}`);
        values.set(tensor.subarray(slice.tensor_row * cols, (slice.tensor_row + slice.rows) * cols), slice.row * cols);
      }
      await this.#run(() => this.#native.write(parameter.name, values));
    }
  }

  async resetOptimizer(): Promise<void> {
    await this.#run(() => this.#native.resetOptimizer());
  }

  async withInitialWeights<T>(work: () => Promise<T>): Promise<T> {
    await this.#run(() => this.#native.putWeightsAside());
    try {
      await this.#run(this.#initialise);
      return await work();
    } finally {
      await this.#run(() => this.#native.bringWeightsBack());
    }
  }

  async markRound(): Promise<void> {
    await this.#run(() => this.#native.rememberRound());
  }

  async withRoundWeights<T>(work: () => Promise<T>): Promise<T> {
    await this.#run(() => this.#native.swapRound());
    try {
      return await work();
    } finally {
      await this.#run(() => this.#native.swapRound());
    }
  }

  /** A Hugging Face folder that transformers loads. files: what to take along in place of the files the model came with. */
  async save(path: string, options: { dtype?: 'F32' | 'F16' | 'BF16'; files?: readonly string[] } = {}): Promise<void> {
    await writeModelFolder(
      path,
      this.#config,
      this.description,
      options.dtype ?? 'F32',
      options.files ?? this.#files,
      (file, header, pieces) => this.#run(() => this.#native.save(file, header, pieces)),
    );
  }

  /**
   * The optimiser's moments and step count, and with `weights` the fp32 weights, which a narrower dtype of the model folder would round.
   * Written beside `path`, synced, renamed: after an abort or a full disk the file of before is there.
   */
  async saveTrainingState(
    path: string,
    options: { weights: boolean; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const state = await this.#run(() => this.#native.trainingState());
    await this.#saveState(path, trainingStateToSave(this.description, state, options.weights), options.signal);
  }

  /** After prepareTraining with the same optimiser. Nothing is changed unless the whole file is what was saved for this model. */
  async loadTrainingState(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    const state = await this.#run(() => this.#native.trainingState());
    await this.#loadState(await trainingStateToLoad(path, this.description, state), options.signal);
  }

  /** The copy that markRound keeps. */
  async saveRoundWeights(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.#saveState(path, roundToSave(this.description), options.signal);
  }

  /** As if markRound had been called when the file's weights were in place. */
  async loadRoundWeights(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.#loadState(await roundToLoad(path, this.description), options.signal);
  }

  /** The weights of a folder of the same model; what withInitialWeights brings back stays the model that this engine began with. */
  async loadWeights(folder: string): Promise<void> {
    const { description, sources } = await openModelFolder(folder);
    checkSameModel(folder, description, this.description);
    await this.#run(loader(this.#native, sources));
  }

  async #saveState(path: string, { header, pieces, digits_at }: StateToSave, signal?: AbortSignal): Promise<void> {
    await onDisk(path, () => makeFolder(dirname(path)));
    await this.#run(() => this.#native.save(path, header, pieces, digits_at), signal);
  }

  async #loadState({ file, pieces, num_steps }: StateToLoad, signal?: AbortSignal): Promise<void> {
    await this.#run(() => this.#native.loadState(file, pieces, num_steps), signal);
  }

  /** What the engine holds now and the most that it ever held, in bytes. */
  async memory(): Promise<{ current_bytes: number; peak_bytes: number }> {
    return this.#run(() => this.#native.memory());
  }

  /** Ends running work with an AbortError and frees the model. */
  async close(): Promise<void> {
    await this.#native.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #budget(): number {
    return this.#training?.micro_batch_tokens ?? SCORE_TOKENS;
  }

  /** Trees in the order of the data and the step's one denominator. */
  #prepare(batch: UpdateBatch): { trees: Tree[]; objective: NativeObjective | undefined } {
    if (!this.#training) throw new GleanerError('ERR_GLEANER_USAGE', 'update needs prepareTraining first');
    const trees = 'pairs' in batch ? batch.pairs.map(treeOfPair) : batch.rows.map(treeOfRow);
    for (const [i, tree] of trees.entries()) {
      if (treeTokens(tree) > this.#training.micro_batch_tokens) {
        const id = ('pairs' in batch ? batch.pairs : batch.rows)[i]?.id;
        throw new GleanerError(
          'ERR_GLEANER_MEMORY',
          `row ${id} has ${treeTokens(tree)} tokens; a micro-batch was planned for ${this.#training.micro_batch_tokens}`,
          'raise train.micro_batch_tokens or lower data.max_length',
        );
      }
    }
    return { trees, objective: nativeObjective(batch) };
  }

  async #customUpdate(
    batches: readonly Tree[][],
    batch: Extract<UpdateBatch, { rows: readonly TokenRow[] }>,
    settings: { learning_rate: number; max_grad_norm: number },
    signal: AbortSignal | undefined,
  ): Promise<NativeStepResult> {
    const { objective, rows } = batch;
    if (objective.name !== 'custom')
      throw new GleanerError('ERR_GLEANER_INTERNAL', `${objective.name} is computed natively`);
    const num_targets = rows.reduce((total, row) => total + row.response_ids.length, 0);
    const denominator = objective.denominator === 'targets' ? num_targets : rows.length;
    if (denominator === 0) throw noTargets();
    const sequence_logprobs: number[] = [];
    let loss = 0;
    let num_tokens = 0;
    let begin = 0;
    try {
      for (const packed of batches) {
        const native = microBatch(packed);
        const members = rows.slice(begin, begin + packed.length);
        begin += packed.length;
        num_tokens += native.ids.length;
        const answer = await this.#forwardBackward(
          native,
          (flat) => {
            const logprobs = split(flat, members);
            sequence_logprobs.push(...logprobs.map(sum));
            const { loss, dlogprobs } = objective.compute(members, logprobs);
            return { loss, dlogprobs: joined(dlogprobs, members, denominator) };
          },
          signal,
        );
        loss += answer / denominator;
      }
    } catch (error) {
      await this.#run(() => this.#native.clearGradients()).catch(() => {}); // a closed engine has none; the first error counts
      throw error;
    }
    const result = await this.#run(() => this.#native.step(loss, settings));
    return { ...result, num_tokens, num_targets, sequence_logprobs: Float64Array.from(sequence_logprobs) };
  }

  /** Forward, the caller's objective, backward; other commands wait until all three are done. */
  async #forwardBackward(
    batch: NativeMicroBatch,
    objective: (logprobs: Float32Array) => { loss: number; dlogprobs: Float32Array },
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const work = async () => {
      const { loss, dlogprobs } = objective(await settle(() => this.#native.forward(batch), signal, this.#native));
      await settle(() => this.#native.backward(dlogprobs), signal, this.#native);
      return loss;
    };
    while (this.#between) await this.#between;
    const running = work();
    this.#between = running.catch(() => {});
    try {
      return await running;
    } finally {
      this.#between = undefined;
    }
  }

  /** One at a time of what adds to the gradients. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#updating)
      throw new GleanerError('ERR_GLEANER_BUSY', 'an update is running already', 'await it before the next');
    this.#updating = true;
    try {
      return await work();
    } finally {
      this.#updating = false;
    }
  }

  async #run<T>(start: () => NativeJob<T>, signal?: AbortSignal): Promise<T> {
    while (this.#between) await this.#between;
    return settle(start, signal, this.#native);
  }
}

/** Starts a command and waits for it; an abort cancels it, and one that came before keeps it from starting. */
async function settle<T>(start: () => NativeJob<T>, signal?: AbortSignal, native?: NativeEngine): Promise<T> {
  if (signal?.aborted) throw abortError(signal.reason);
  let cancel: (() => void) | undefined;
  try {
    const job = start();
    cancel = () => native?.cancel(job.task);
    signal?.addEventListener('abort', cancel, { once: true });
    return await job.promise;
  } catch (error) {
    throw nativeError(error, signal);
  } finally {
    if (cancel) signal?.removeEventListener('abort', cancel);
  }
}

/** Errors of a native call that answers at once. */
function typed<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw nativeError(error);
  }
}

function construct(spec: DecoderSpec, ops: NativeOps, memory_limit_bytes: number): NativeEngine {
  const { NativeEngine } = addon();
  return typed(() => new NativeEngine({ ...ops, spec, memory_limit_bytes }));
}

function nativeOps(options: EngineOptions): NativeOps {
  const threads = options.threads ?? availableParallelism();
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024) {
    throw new GleanerError('ERR_GLEANER_USAGE', `threads is ${threads}: a whole number from 1 to 1024 is needed`);
  }
  return { backend: options.backend ?? 'auto', isa: options.isa ?? 'auto', threads };
}

function loader(native: NativeEngine, sources: readonly ParameterSource[]): () => NativeJob<void> {
  const files = [...new Set(sources.map(({ file }) => file))];
  const index = new Map(files.map((file, i) => [file, i]));
  const pieces = sources.map(({ parameter, row, rows, file, offset, dtype }) => ({
    parameter,
    row,
    rows,
    file: index.get(file) ?? 0,
    offset,
    dtype,
  }));
  return () => native.load(files, pieces);
}
