// A policy that is a table: for each prompt and each beginning of a response a softmax over a small vocabulary. It stands in for the engine in
// tests of methods: every log-probability and gradient is exact, plain gradient descent is its optimiser, and it remembers what it was told to do.

import type {
  FinishReason,
  GeneratedRow,
  GenerateOptions,
  GeneratePrompt,
  ScoredRow,
  StepSettings,
  TokenIds,
  TokenRow,
  Trainer,
  UpdateBatch,
  UpdateResult,
} from '../../src/engine/types.js';

/** Logits by context; a context that nobody moved has the start's. */
export type Table = Map<string, Float64Array>;

export interface TabularOptions {
  vocab: number;
  /** Logits of a context at the start of training; default: all 0. */
  start?: (context: string) => readonly number[];
  /** Makes the gradient of these updates (counted from 0) not finite. */
  breakUpdates?: (update: number) => boolean;
}

export class TabularTrainer implements Trainer {
  table: Table = new Map();
  #round: Table | undefined;
  #away = false;
  #updates = 0;
  /** Probabilities by context, of one table. */
  #cached: Table = new Map();
  #cachedTable: Table | undefined;
  /** Of the last update, by context. */
  lastGradient: Table = new Map();
  /** Names of the calls, in order. */
  readonly calls: string[] = [];
  readonly batches: UpdateBatch[] = [];
  readonly learningRates: number[] = [];
  readonly generateSeeds: number[] = [];

  constructor(private readonly options: TabularOptions) {}

  async score(rows: readonly TokenRow[]): Promise<ScoredRow[]> {
    this.calls.push(`score ${rows.length}${this.#away ? ' with other weights' : ''}`);
    return rows.map((row) => {
      const token_logprobs = Float32Array.from(row.response_ids, (token, place) =>
        Math.log(this.#probabilities(contextOf(row, place))[token] ?? 0),
      );
      return { id: row.id, logprob: this.logprob(row.prompt_ids, row.response_ids), token_logprobs, greedy: false };
    });
  }

  async generate(prompts: readonly GeneratePrompt[], options: GenerateOptions): Promise<GeneratedRow[]> {
    this.calls.push(`generate ${prompts.length}`);
    this.generateSeeds.push(options.seed);
    return prompts.map(({ prompt_ids, sample_id }) => this.#sample(prompt_ids, sample_id, options));
  }

  #sample(prompt_ids: TokenIds, sample_id: number, options: GenerateOptions): GeneratedRow {
    const random = uniforms(options.seed, sample_id);
    const response: number[] = [];
    const chosen: number[] = [];
    let finish_reason: FinishReason = 'length';
    while (response.length < options.max_new_tokens) {
      const probabilities = this.#probabilities(contextOf({ prompt_ids, response_ids: response }, response.length));
      let left = random();
      let token = 0;
      while (token < probabilities.length - 1 && left >= (probabilities[token] ?? 0))
        left -= probabilities[token++] ?? 0;
      response.push(token);
      chosen.push(Math.log(probabilities[token] ?? 0));
      if (options.eos_token_ids.includes(token)) {
        finish_reason = 'eos';
        break;
      }
    }
    const full_logprobs = Float32Array.from(chosen);
    const logprob = chosen.reduce((sum, value) => sum + value, 0);
    return {
      response_ids: Int32Array.from(response),
      token_logprobs: full_logprobs,
      full_logprobs,
      logprob,
      finish_reason,
    };
  }

  async update(batch: UpdateBatch, step: StepSettings): Promise<UpdateResult> {
    if (this.#away) throw new Error('update with other weights');
    this.calls.push('update');
    this.batches.push(batch);
    this.learningRates.push(step.learning_rate);
    const { loss, gradient, num_targets, pairs } = this.#objective(batch);
    const grad_norm = Math.sqrt(
      [...gradient.values()].flatMap((values) => [...values]).reduce((sum, value) => sum + value * value, 0),
    );
    const broken = this.options.breakUpdates?.(this.#updates++) ?? false;
    this.lastGradient = gradient;
    if (!broken) {
      for (const [context, values] of gradient) {
        const logits = this.#logits(context);
        this.table.set(
          context,
          logits.map((logit, token) => logit - step.learning_rate * (values[token] ?? 0)),
        );
      }
      this.#cached.clear();
    }
    const result = {
      loss: broken ? Number.NaN : loss,
      grad_norm: broken ? Number.NaN : grad_norm,
      skipped: broken,
      num_tokens: num_targets,
      num_targets,
      micro_batches: 1,
    };
    return pairs ? { ...result, pairs } : result;
  }

  async resetOptimizer(): Promise<void> {
    this.calls.push('resetOptimizer');
  }

  async withInitialWeights<T>(work: () => Promise<T>): Promise<T> {
    this.calls.push('initial weights');
    return this.#withTable(new Map(), work);
  }

  async markRound(): Promise<void> {
    this.calls.push('markRound');
    this.#round = new Map(this.table);
  }

  async withRoundWeights<T>(work: () => Promise<T>): Promise<T> {
    this.calls.push('round weights');
    if (!this.#round) throw new Error('no round was marked');
    return this.#withTable(this.#round, work);
  }

  async #withTable<T>(table: Table, work: () => Promise<T>): Promise<T> {
    const today = this.table;
    this.table = table;
    this.#away = true;
    try {
      return await work();
    } finally {
      this.table = today;
      this.#away = false;
    }
  }

  /** log π(response | prompt), a sum. */
  logprob(prompt_ids: TokenIds, response_ids: TokenIds): number {
    let sum = 0;
    for (let place = 0; place < response_ids.length; ++place) {
      const probabilities = this.#probabilities(contextOf({ prompt_ids, response_ids }, place));
      sum += Math.log(probabilities[response_ids[place] ?? 0] ?? 0);
    }
    return sum;
  }

  probabilities(prompt_ids: TokenIds): number[] {
    return [...this.#probabilities(contextOf({ prompt_ids, response_ids: [] }, 0))];
  }

  /** Adds scale · ∇ log π(response | prompt) to a gradient. */
  addGradient(gradient: Table, prompt_ids: TokenIds, response_ids: TokenIds, scale: number): void {
    for (let place = 0; place < response_ids.length; ++place) {
      const context = contextOf({ prompt_ids, response_ids }, place);
      const probabilities = this.#probabilities(context);
      const values = gradient.get(context) ?? new Float64Array(this.options.vocab);
      const token = response_ids[place];
      for (let other = 0; other < values.length; ++other)
        values[other] = (values[other] ?? 0) + scale * ((other === token ? 1 : 0) - (probabilities[other] ?? 0));
      gradient.set(context, values);
    }
  }

  #objective(batch: UpdateBatch): {
    loss: number;
    gradient: Table;
    num_targets: number;
    pairs?: NonNullable<UpdateResult['pairs']>;
  } {
    const gradient: Table = new Map();
    if (!('pairs' in batch)) {
      const num_targets = batch.rows.reduce((sum, row) => sum + row.response_ids.length, 0);
      for (const row of batch.rows) this.addGradient(gradient, row.prompt_ids, row.response_ids, -1 / num_targets);
      const loss =
        -batch.rows.reduce((sum, row) => sum + this.logprob(row.prompt_ids, row.response_ids), 0) / num_targets;
      return { loss, gradient, num_targets };
    }
    const { pairs, objective } = batch;
    const realTokens = pairs.reduce((sum, pair) => sum + pair.real_ids.length, 0);
    const real_logprobs = Float64Array.from(pairs, (pair) => this.logprob(pair.prompt_ids, pair.real_ids));
    const generated_logprobs = Float64Array.from(pairs, (pair) => this.logprob(pair.prompt_ids, pair.generated_ids));
    let loss = 0;
    for (const [place, pair] of pairs.entries()) {
      const real = real_logprobs[place] ?? 0;
      const margin = objective.beta * (real - pair.ref_real - ((generated_logprobs[place] ?? 0) - pair.ref_generated));
      const [value, slope] = pairLosses[objective.loss](margin);
      loss += value / pairs.length;
      loss -= (objective.nll_weight * real) / realTokens;
      const scale = (objective.beta * slope) / pairs.length;
      this.addGradient(gradient, pair.prompt_ids, pair.real_ids, scale - objective.nll_weight / realTokens);
      this.addGradient(gradient, pair.prompt_ids, pair.generated_ids, -scale);
    }
    const num_targets = pairs.reduce((sum, pair) => sum + pair.real_ids.length + pair.generated_ids.length, 0);
    return { loss, gradient, num_targets, pairs: { real_logprobs, generated_logprobs } };
  }

  #logits(context: string): Float64Array {
    return (
      this.table.get(context) ??
      Float64Array.from(this.options.start?.(context) ?? new Array<number>(this.options.vocab).fill(0))
    );
  }

  #probabilities(context: string): Float64Array {
    if (this.#cachedTable !== this.table) {
      this.#cachedTable = this.table;
      this.#cached.clear();
    }
    const known = this.#cached.get(context);
    if (known) return known;
    const logits = this.#logits(context);
    const highest = Math.max(...logits);
    const weights = logits.map((logit) => Math.exp(logit - highest));
    const sum = weights.reduce((total, weight) => total + weight, 0);
    const probabilities = weights.map((weight) => weight / sum);
    this.#cached.set(context, probabilities);
    return probabilities;
  }
}

/** Loss and its slope. */
const pairLosses = {
  logistic: (margin: number) => [Math.log1p(Math.exp(-margin)), -1 / (1 + Math.exp(margin))],
  hinge: (margin: number) => [Math.max(0, 1 - margin), margin < 1 ? -1 : 0],
  linear: (margin: number) => [-margin, -1],
} as const satisfies Record<string, (margin: number) => readonly [number, number]>;

function contextOf(
  { prompt_ids, response_ids }: { prompt_ids: TokenIds; response_ids: TokenIds },
  place: number,
): string {
  return `${prompt_ids.join(' ')} | ${response_ids.slice(0, place).join(' ')}`;
}

/** A stream for each seed and sample: xorshift over a mixed start; good enough for counting. */
function uniforms(seed: number, sample_id: number): () => number {
  let state = 0x9e3779b9;
  for (const word of [seed % 2 ** 32, Math.floor(seed / 2 ** 32), sample_id, 0x85ebca6b]) {
    state = Math.imul(state ^ word, 0xc2b2ae35) >>> 0;
    state = (state ^ (state >>> 15)) >>> 0;
    state = Math.imul(state, 0x27d4eb2f) >>> 0;
    state = (state ^ (state >>> 13)) >>> 0;
  }
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}
