// What the engine takes and gives: ids, numbers, promises. Methods see the engine through `Trainer`, so a test can put a small fake in its place.

/** Ids of the model's vocabulary. */
export type TokenIds = readonly number[] | Int32Array;

/** A prompt and one response to it; log π(y|x) is the sum over response_ids. */
export interface TokenRow {
  id: string;
  prompt_ids: TokenIds;
  response_ids: TokenIds;
}

/** A prompt, its demonstration y and what a policy generated ỹ; ref_… are sums of the reference's logprobs (constants of a round). */
export interface PairRow {
  id: string;
  prompt_ids: TokenIds;
  real_ids: TokenIds;
  generated_ids: TokenIds;
  ref_real: number;
  ref_generated: number;
}

/** Log-probabilities of a row's response, in nats. */
export interface ScoredRow {
  id: string;
  /** Sum of token_logprobs. */
  logprob: number;
  /** log π of each token of the response: [response_ids]. */
  token_logprobs: Float32Array;
  /** Every token of the response is the argmax at its place. */
  greedy: boolean;
}

/** Why an answer ended: an EOS was sampled; a stop id or the caller's onToken; max_new_tokens. */
export type FinishReason = 'eos' | 'stop' | 'length';

/** How answers are sampled: docs/sampling.md. */
export interface GenerateOptions {
  /** Of an answer, its EOS included. */
  max_new_tokens: number;
  /** 0: greedy. */
  temperature: number;
  /** The smallest set of likeliest tokens with this much probability; 1: off. */
  top_p: number;
  /** The k likeliest tokens; 0: off. */
  top_k: number;
  /** With each prompt's sample_id it keys all random numbers. */
  seed: number;
  /** Ids that end a response; the sampled one stays in response_ids. */
  eos_token_ids: readonly number[];
  /** Further ids that end a response with finish_reason "stop"; kept in response_ids. */
  stop_token_ids?: readonly number[];
  /** Ends a sequence after this token when it answers true (stop strings are checked by the caller, who has the text). */
  onToken?: (event: TokenEvent) => boolean | undefined;
  /** Sequences decoded together; default from the memory plan. */
  batch_size?: number;
  signal?: AbortSignal | undefined;
}

/** A token that was just sampled. */
export interface TokenEvent {
  /** Index into the prompts given. */
  prompt: number;
  token: number;
  /** Place in the response, from 0. */
  position: number;
}

/** What is answered. */
export interface GeneratePrompt {
  prompt_ids: TokenIds;
  /** Keys the random numbers with the seed: the same prompt and sample_id give the same text in any batch. */
  sample_id: number;
}

/** An answer, with log-probabilities in nats. */
export interface GeneratedRow {
  /** With the EOS or stop id that ended it. */
  response_ids: Int32Array;
  /** Of each sampled token, under the distribution sampled from. */
  token_logprobs: Float32Array;
  /** Of each sampled token at temperature 1 and full support: what training's logprobs are compared with. */
  full_logprobs: Float32Array;
  /** Sum of full_logprobs. */
  logprob: number;
  finish_reason: FinishReason;
}

/** Of a pair's margin m: −log σ(m), max(0, 1 − m), −m. */
export type PairLoss = 'logistic' | 'hinge' | 'linear';

/** A loss of the caller's own, on log-probabilities. Returns the sum over the step's rows and its derivative by each logprob. */
export interface CustomObjective {
  name: 'custom';
  /** logprobs[i] belong to rows[i].response_ids. Called once a micro-batch; `denominator` divides the sums, once a step. */
  compute(
    rows: readonly TokenRow[],
    logprobs: readonly Float32Array[],
  ): { loss: number; dlogprobs: readonly Float32Array[] };
  denominator: 'targets' | 'sequences';
}

/** What one optimiser step is taken on. */
export type UpdateBatch =
  | { objective: { name: 'sft' }; rows: readonly TokenRow[] }
  | { objective: { name: 'pair'; loss: PairLoss; beta: number; nll_weight: number }; pairs: readonly PairRow[] }
  | { objective: CustomObjective; rows: readonly TokenRow[] };

/** torch's AdamW and RMSprop; eps outside the square root, no momentum in RMSprop. */
export type OptimizerSettings =
  | { name: 'adamw'; learning_rate: number; betas: readonly [number, number]; eps: number; weight_decay: number }
  | { name: 'rmsprop'; learning_rate: number; alpha: number; eps: number; weight_decay: number };

/** One optimiser step. */
export interface StepSettings {
  /** Of this step, after the schedule. */
  learning_rate: number;
  /** null: clipping off. */
  max_grad_norm: number | null;
  signal?: AbortSignal | undefined;
}

/** What an optimiser step did. */
export interface UpdateResult {
  /** Sum over the step divided by its one denominator (target tokens for sft, pairs for pair losses). */
  loss: number;
  /** Before clipping. */
  grad_norm: number;
  /** True when loss or gradient was not finite: no weight was changed. */
  skipped: boolean;
  /** Tokens computed; prompts shared by a pair count once. */
  num_tokens: number;
  /** Tokens whose log-probability was asked for. */
  num_targets: number;
  micro_batches: number;
  /** Pair objectives: sums of logprobs, one a pair, in the order given. */
  pairs?: { real_logprobs: Float64Array; generated_logprobs: Float64Array };
}

/** What a training method needs of an engine. */
export interface Trainer {
  /** Rows in, logprobs out, in the order given; nothing is trained. */
  score(rows: readonly TokenRow[], options?: { signal?: AbortSignal | undefined }): Promise<ScoredRow[]>;
  /** An answer to each prompt, in order. */
  generate(prompts: readonly GeneratePrompt[], options: GenerateOptions): Promise<GeneratedRow[]>;
  /** One optimiser step over the whole batch, in as many micro-batches as the memory plan asks for. */
  update(batch: UpdateBatch, step: StepSettings): Promise<UpdateResult>;
  /** Zeroes the optimiser's moments and its step count. */
  resetOptimizer(): Promise<void>;
  /** Runs work with the weights that training began with, then puts today's weights back. No update is possible inside. */
  withInitialWeights<T>(work: () => Promise<T>): Promise<T>;
  /** Keeps a copy of today's weights as the round's. */
  markRound(): Promise<void>;
  /** Runs work with the weights of the last markRound, then puts today's back. No update is possible inside. */
  withRoundWeights<T>(work: () => Promise<T>): Promise<T>;
}

/** Bytes by purpose. */
export interface MemoryPlan {
  total_bytes: number;
  weights: number;
  packed_weights: number;
  gradients: number;
  optimizer: number;
  activations: number;
  kv_cache: number;
  /** Scratch of the kernels; the log-prob head's chunks of logits are among it. */
  workspace: number;
}

/** What memory is planned for. */
export interface PlanSettings {
  /** null: no training. */
  training: null | {
    optimizer: 'adamw' | 'rmsprop';
    activations: 'keep' | 'recompute';
    /** Most tokens of one micro-batch. */
    micro_batch_tokens: number;
    /** Longest path (prompt + response). */
    max_length: number;
    /** A second copy of the weights is kept (markRound). */
    keeps_round?: boolean;
  };
  /** null: no generation. */
  generation: null | { batch_size: number; max_length: number };
  threads: number;
}
