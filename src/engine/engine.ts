// The engine's typed façade: one loaded model, commands as promises. Ids and numbers in and out; text lives above.

import { availableParallelism, cpus, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { GleanerError } from '../common/errors.js';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';
import type { Config } from '../models/config.js';
import { openModelFolder, type ParameterSource, readConfigOnly } from '../models/folder.js';
import type { DecoderSpec, ModelDescription } from '../models/spec.js';
import { addon, type NativeEngine, type NativeJob, type NativeObjective, type NativeOps } from './addon.js';
import { checkedStep, checkGenerate, checkMemoryLimit, checkPlan, checkSeed, checkTraining } from './checks.js';
import { settle, typed } from './command.js';
import { customUpdate } from './custom.js';
import { microBatch, packTrees, type Tree, treeOfPair, treeOfRow, treesOfRows, treeTokens } from './forest.js';
import { Gate } from './gate.js';
import { generateCall, PREFILL_TOKENS } from './generate.js';
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
import { nativeObjective, required, sum, updateResult } from './step.js';
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

/** Tokens of one scoring pass when no training was prepared. */
const SCORE_TOKENS = 2048;

/** How a model is loaded. */
export interface EngineOptions {
  /** Default: as many as the machine has cores. */
  threads?: number | undefined;
  backend?: 'auto' | 'cpu' | undefined;
  /** Kernels; auto: the fastest that the CPU has. */
  isa?: 'auto' | 'portable' | 'avx2' | 'avx512' | undefined;
  /** What the engine may hold; beyond it, ERR_GLEANER_MEMORY. 0: no limit. */
  memory_limit_bytes?: number | undefined;
  /** random: config.json alone suffices; N(0, initializer_range), seeded. */
  init?: 'pretrained' | 'random' | undefined;
  seed?: number | undefined;
}

/** What is allocated for training. */
export interface TrainingOptions {
  optimizer: OptimizerSettings;
  /** recompute: less memory, one more forward pass of the layers. */
  activations: 'keep' | 'recompute';
  /** Most tokens of one micro-batch. */
  micro_batch_tokens: number;
  /** Longest path (prompt + response), tokens. */
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

/** This machine as the engine sees it; loads the native addon. */
export function engineInfo(): EngineInfo {
  return {
    backend: 'cpu',
    isa: addon().cpuInfo().isa,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory_bytes: totalmem(),
  };
}

/**
 * One loaded model and its commands. Every command is a promise; they run one after the other in a thread of the engine's own, so several may
 * be under way. Errors: GleanerError with a code; an aborted command ends with Node's AbortError.
 */
export class Engine implements Trainer {
  readonly description: ModelDescription;
  readonly threads: number;
  readonly #native: NativeEngine;
  readonly #config: Config;
  readonly #files: readonly string[];
  readonly #initialise: () => NativeJob<void>;
  #training: TrainingOptions | undefined;
  #updating = false;
  readonly #gate = new Gate();
  #saving: Promise<unknown> = Promise.resolve();

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
    const seed = checkSeed(options.seed ?? 0);
    const limit = checkMemoryLimit(options.memory_limit_bytes ?? 0);
    const folder = random ? { ...(await readConfigOnly(path)), sources: [] } : await openModelFolder(path);
    const native = construct(folder.description.spec, ops, limit);
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
    checkPlan(settings);
    const { training, generation } = settings;
    const request = {
      ...(training ? { training: { ...training } } : {}),
      ...(generation ? { generation: { ...generation, prefill_tokens: PREFILL_TOKENS } } : {}),
    };
    const plan = typed(() => addon().planMemory(spec, request, nativeOps({ threads: settings.threads })));
    if (!training?.keeps_round) return plan;
    return { ...plan, weights: plan.weights + plan.gradients, total_bytes: plan.total_bytes + plan.gradients };
  }

  /** The sizes and switches that the model is computed with. */
  get spec(): DecoderSpec {
    return this.description.spec;
  }

  /** Gradients, optimiser state and activations are allocated here, as planned. */
  async prepareTraining(options: TrainingOptions): Promise<void> {
    const { optimizer } = options;
    checkTraining(options);
    const adamw = optimizer.name === 'adamw';
    await this.#gate.change(async () => {
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
    });
  }

  async score(rows: readonly TokenRow[], options: { signal?: AbortSignal | undefined } = {}): Promise<ScoredRow[]> {
    const scored = await this.scoreTrees(treesOfRows(rows, this.#budget()), options.signal);
    return rows.map((row, i) => {
      const { logprobs, greedy } = scored[i] ?? { logprobs: new Float32Array(), greedy: true };
      return { id: row.id, logprob: sum(logprobs), token_logprobs: logprobs, greedy };
    });
  }

  /** Logprobs of every sequence of the trees, in order.
   * @internal */
  async scoreTrees(
    trees: readonly Tree[],
    signal?: AbortSignal,
  ): Promise<{ logprobs: Float32Array; greedy: boolean }[]> {
    return this.#gate.read(async () => {
      const results: { logprobs: Float32Array; greedy: boolean }[] = [];
      // A micro-batch a command, so that an abort never waits long.
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
    }, signal);
  }

  /** Logits at every position of one sequence: [positions][vocab], fp32; for inspection. */
  async logits(ids: readonly number[]): Promise<Float32Array[]> {
    if (ids.length === 0) return [];
    const batch = microBatch([{ segments: [{ parent: -1, ids }], sequences: [], pairs: [] }]);
    const rows = Int32Array.from(ids.keys());
    const flat = await this.#gate.read(() => this.#run(() => this.#native.logits(batch, rows)));
    return ids.map((_, i) => flat.slice(i * this.spec.vocab, (i + 1) * this.spec.vocab));
  }

  /** Samples an answer to each prompt, in order: continuous batching over a paged cache, prompts with equal beginnings computed once. */
  async generate(prompts: readonly GeneratePrompt[], options: GenerateOptions): Promise<GeneratedRow[]> {
    checkGenerate(prompts, options);
    if (prompts.length === 0) return [];
    const call = generateCall(prompts, options);
    const { signal } = options;
    const responses = await this.#gate.read(() => this.#run(() => call.start(this.#native), signal), signal);
    return call.rows(responses);
  }

  async update(batch: UpdateBatch, step: StepSettings): Promise<UpdateResult> {
    const settings = checkedStep(step);
    return this.#alone(async () => {
      const { trees, objective } = this.#prepare(batch);
      const batches = packTrees(trees, this.#budget());
      const result =
        objective === undefined && 'rows' in batch
          ? await customUpdate(this.#native, batches, batch, settings, step.signal)
          : await this.#run(
              () => this.#native.update(batches.map(microBatch), required(objective), settings),
              step.signal,
            );
      return updateResult(result, batch, batches.length);
    }, step.signal);
  }

  /** Loss and gradients by Hugging Face tensor, without a step; for tests and tools. */
  async gradients(batch: UpdateBatch): Promise<{ result: UpdateResult; gradients: Map<string, Float32Array> }> {
    const { trees, objective } = this.#prepare(batch);
    return this.gradientsOfTrees(trees, required(objective), batch);
  }

  /** The same for trees of the caller's own.
   * @internal */
  async gradientsOfTrees(
    trees: readonly Tree[],
    objective: NativeObjective,
    batch?: UpdateBatch,
  ): Promise<{ result: UpdateResult; gradients: Map<string, Float32Array> }> {
    return this.#alone(async () => {
      const batches = packTrees(trees, this.#budget());
      const result = await this.#run(() => this.#native.accumulate(batches.map(microBatch), objective));
      const gradients = await this.#read(true);
      await this.#run(() => this.#native.clearGradients());
      return { result: updateResult(result, batch, batches.length), gradients };
    });
  }

  /** Weights (or gradients) by Hugging Face tensor name, fp32. */
  async readTensors(gradient = false): Promise<Map<string, Float32Array>> {
    return this.#gate.read(() => this.#read(gradient));
  }

  /** New values for Hugging Face tensors: all of them, or none when one is missing or of another size. */
  async writeTensors(tensors: ReadonlyMap<string, Float32Array>): Promise<void> {
    for (const { name, shape } of this.description.tensors) {
      const values = tensors.get(name);
      const size = shape.reduce((a, b) => a * b, 1);
      if (!values) throw new GleanerError('ERR_GLEANER_USAGE', `no values were given for tensor ${name}`);
      if (values.length !== size)
        throw new GleanerError('ERR_GLEANER_USAGE', `tensor ${name} takes ${size} values, not ${values.length}`);
    }
    await this.#gate.change(async () => {
      for (const parameter of this.description.parameters) {
        const { cols } = parameter;
        const values = new Float32Array(parameter.rows * cols);
        for (const slice of parameter.slices) {
          const given = tensors.get(slice.tensor);
          values.set(
            given?.subarray(slice.tensor_row * cols, (slice.tensor_row + slice.rows) * cols) ?? [],
            slice.row * cols,
          );
        }
        await this.#run(() => this.#native.write(parameter.name, values));
      }
    });
  }

  async resetOptimizer(): Promise<void> {
    await this.#gate.change(() => this.#run(() => this.#native.resetOptimizer()));
  }

  async withInitialWeights<T>(work: () => Promise<T>): Promise<T> {
    return this.#gate.pass(async (run) => {
      await this.#run(() => this.#native.putWeightsAside());
      return afterwards(
        async () => {
          await this.#run(this.#initialise);
          return run(work);
        },
        () => this.#run(() => this.#native.bringWeightsBack()),
      );
    });
  }

  async markRound(): Promise<void> {
    await this.#gate.change(() => this.#run(() => this.#native.rememberRound()));
  }

  async withRoundWeights<T>(work: () => Promise<T>): Promise<T> {
    return this.#gate.pass(async (run) => {
      await this.#run(() => this.#native.swapRound());
      return afterwards(
        () => run(work),
        () => this.#run(() => this.#native.swapRound()),
      );
    });
  }

  /** A Hugging Face folder that transformers loads. files: what to take along in place of the files the model came with. */
  async save(path: string, options: { dtype?: 'F32' | 'F16' | 'BF16'; files?: readonly string[] } = {}): Promise<void> {
    const write = () =>
      writeModelFolder(
        path,
        this.#config,
        this.description,
        options.dtype ?? 'F32',
        options.files ?? this.#files,
        (file, header, pieces) => this.#run(() => this.#native.save(file, header, pieces)),
      );
    await this.#gate.read(async () => {
      // One after the other: two may have one path.
      const saving = this.#saving.then(write);
      this.#saving = saving.catch(() => {});
      await saving;
    });
  }

  /**
   * The optimiser's moments and step count, and with `weights` the fp32 weights, which a narrower dtype of the model folder would round.
   * Written beside `path`, synced, renamed: after an abort or a full disk the file of before is there.
   */
  async saveTrainingState(
    path: string,
    options: { weights: boolean; signal?: AbortSignal | undefined },
  ): Promise<void> {
    const { signal } = options;
    await this.#gate.read(async () => {
      const state = await this.#run(() => this.#native.trainingState());
      await this.#saveState(path, trainingStateToSave(this.description, state, options.weights), signal);
    }, signal);
  }

  /** After prepareTraining with the same optimiser. Nothing is changed unless the whole file is what was saved for this model. */
  async loadTrainingState(path: string, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.#gate.change(async () => {
      const state = await this.#run(() => this.#native.trainingState());
      await this.#loadState(await trainingStateToLoad(path, this.description, state), signal);
    }, signal);
  }

  /** The copy that markRound keeps. */
  async saveRoundWeights(path: string, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.#gate.read(() => this.#saveState(path, roundToSave(this.description), signal), signal);
  }

  /** As if markRound had been called when the file's weights were in place. */
  async loadRoundWeights(path: string, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.#gate.change(async () => this.#loadState(await roundToLoad(path, this.description), signal), signal);
  }

  /** The weights of a folder of the same model; what withInitialWeights brings back stays the model that this engine began with. */
  async loadWeights(folder: string): Promise<void> {
    await this.#gate.change(async () => {
      const { description, sources } = await openModelFolder(folder);
      checkSameModel(folder, description, this.description);
      await this.#run(loader(this.#native, sources));
    });
  }

  /** What the engine holds now and the most that it ever held, in bytes. */
  async memory(): Promise<{ current_bytes: number; peak_bytes: number }> {
    return this.#run(() => this.#native.memory()); // at any time: it touches nothing that others use
  }

  /** Ends running work with an AbortError and frees the model. */
  async close(): Promise<void> {
    await this.#native.close();
  }

  /** As `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #saveState(path: string, { header, pieces, digits_at }: StateToSave, signal?: AbortSignal): Promise<void> {
    await onDisk(path, () => makeFolder(dirname(path)));
    await this.#run(() => this.#native.save(path, header, pieces, digits_at), signal);
  }

  async #loadState({ file, pieces, num_steps }: StateToLoad, signal?: AbortSignal): Promise<void> {
    await this.#run(() => this.#native.loadState(file, pieces, num_steps), signal);
  }

  async #read(gradient: boolean): Promise<Map<string, Float32Array>> {
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

  /** One at a time of what adds to the gradients: a second one is a mistake of the caller's, and told. */
  async #alone<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    if (this.#updating)
      throw new GleanerError('ERR_GLEANER_BUSY', 'an update is running already', 'await it before the next');
    this.#updating = true;
    try {
      return await this.#gate.change(work, signal);
    } finally {
      this.#updating = false;
    }
  }

  async #run<T>(start: () => NativeJob<T>, signal?: AbortSignal): Promise<T> {
    return settle(start, signal, this.#native);
  }
}

/** `last` runs whatever becomes of `work`; when both fail, the first error counts. */
async function afterwards<T>(work: () => Promise<T>, last: () => Promise<void>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await last().catch(() => {});
    throw error;
  }
  await last();
  return result;
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
