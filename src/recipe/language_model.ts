// A model folder as text in, text out: what `gleaner generate` and `gleaner score` do, for programs.

import { GleanerError } from '../common/errors.js';
import type { Row } from '../data/rows.js';
import { RowTokenizer, type TokenizedRow, type TokenizeSettings } from '../data/tokenize.js';
import type { Tokenizer } from '../data/tokenizer/tokenizer.js';
import { Engine, type EngineOptions } from '../engine/engine.js';
import type { FinishReason } from '../engine/types.js';
import { type PreparedModel, prepareModel } from './prepare.js';
import { StopStrings } from './stop_strings.js';

/** Answers that are sampled together, and tokens that are scored together; what a row gets does not depend on it. */
const ANSWERS_AT_ONCE = 256;
const SCORED_TOKENS_AT_ONCE = 8192;
const NEW_TOKENS = 256;
/** A prompt that long would not be cut: text is refused, not shortened, where it does not fit. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/** How a model folder is read. */
export interface ModelOptions extends EngineOptions {
  /** A folder with tokenizer.json; default: the model's. */
  tokenizer?: string | undefined;
  /** Of chats; default auto: the tokenizer's own, else zephyr's layout. */
  template?: TokenizeSettings['template'] | undefined;
  /** Whether a BOS stands before a prompt; default auto: as the tokenizer's configuration says. */
  bos?: TokenizeSettings['bos'] | undefined;
}

/** How answers are sampled: docs/sampling.md. */
export interface SamplingOptions {
  /** Of an answer, its EOS included; default: 256, or half of the model's positions where that is less. */
  max_new_tokens?: number | undefined;
  /** 0: greedy; default 1. */
  temperature?: number | undefined;
  /** The smallest set of likeliest tokens with this much probability; default 1: off. */
  top_p?: number | undefined;
  /** The k likeliest tokens; default 0: off. */
  top_k?: number | undefined;
  /** Default 0. The same rows, options and seed give the same texts. */
  seed?: number | undefined;
  /** Answers to each prompt; default 1. */
  num?: number | undefined;
  /** Texts that end an answer; what comes from there on is not in `response`. */
  stop?: readonly string[] | undefined;
  /** Sequences decoded together; default 32. */
  batch_size?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Text as it is written, of the answer `sample` to the prompt `id`. */
  onText?: ((event: { id: string; sample: number; text: string }) => void) | undefined;
}

/** An answer. response_ids and logprob include the sampled EOS; response does not show it. */
export interface GeneratedText {
  id: string;
  /** Of the prompt's answers, from 0. */
  sample: number;
  prompt: string;
  response: string;
  prompt_ids: number[];
  response_ids: number[];
  /** Sum over response_ids at temperature 1. */
  logprob: number;
  finish_reason: FinishReason;
}

interface AskedPrompt {
  id: string;
  prompt: string;
  prompt_ids: number[];
  /** Of the prompt's answers, from 0. */
  sample: number;
  sample_id: number;
}

/** log π(response | prompt) of a row, in nats. */
export interface ScoredText {
  id: string;
  /** Sum of token_logprobs. */
  logprob: number;
  token_logprobs: number[];
  num_tokens: number;
  /** The response is what greedy sampling would write. */
  greedy: boolean;
}

/** A loaded model with its tokenizer: text in, text out. `engine` and `tokenizer` are there for what ids are needed for. */
export class LanguageModel implements AsyncDisposable {
  private constructor(
    readonly engine: Engine,
    readonly tokenizer: Tokenizer | undefined,
    private readonly model: PreparedModel,
    private readonly rowTokenizer: RowTokenizer,
  ) {}

  /** As `loadModel`. */
  static async load(path: string, options: ModelOptions = {}): Promise<LanguageModel> {
    const { tokenizer, template, bos, ...engineOptions } = options;
    const model = await prepareModel({ model: path, tokenizer: tokenizer ?? null });
    const { spec } = model.description;
    const rowTokenizer = new RowTokenizer(model.tokenizer, {
      template: template ?? 'auto',
      bos: bos ?? 'auto',
      max_length: NO_LIMIT,
      max_prompt_length: NO_LIMIT,
      max_new_tokens: null,
      eos_token_id: model.eos_token_id,
      vocab: spec.vocab,
      paper_compat: false,
    });
    return new LanguageModel(await Engine.load(path, engineOptions), model.tokenizer, model, rowTokenizer);
  }

  /**
   * Answers in the order of the rows; a row's own response, if it has one, is not looked at. Where a row cannot be answered, or the signal
   * aborts, the answers that are whole by then come first, then the error.
   */
  async *generate(
    rows: Iterable<Row> | AsyncIterable<Row>,
    options: SamplingOptions = {},
  ): AsyncGenerator<GeneratedText> {
    const num = options.num ?? 1;
    if (!Number.isSafeInteger(num) || num < 1)
      throw new GleanerError('ERR_GLEANER_USAGE', `num is ${num}: a whole number from 1 is needed`);
    const stops = options.stop ?? [];
    this.#needTokenizer(stops.length > 0);
    for await (const group of groups(this.#asked(rows, num, this.#maxNewTokens(options)), ANSWERS_AT_ONCE, () => 1)) {
      const texts = group.map(({ prompt_ids }) => new StopStrings(this.tokenizer, prompt_ids, stops));
      const sampled = group.map((): number[] => []);
      try {
        yield* await this.#generateGroup(group, texts, sampled, options);
      } catch (error) {
        if (options.signal?.aborted) yield* await this.#finishedAnswers(group, texts, sampled, options);
        throw error;
      }
    }
  }

  /** Each row's prompt, as often as it is to be answered. */
  async *#asked(
    rows: Iterable<Row> | AsyncIterable<Row>,
    num: number,
    max_new_tokens: number,
  ): AsyncGenerator<AskedPrompt> {
    let sample_id = 0;
    for await (const row of rows) {
      const prompt = this.rowTokenizer.prompt(row);
      if (!prompt)
        throw new GleanerError(
          'ERR_GLEANER_DATA',
          `row ${row.id}: there is nothing to answer in it`,
          'Give a prompt, or messages.',
        );
      const { max_positions } = this.model.description.spec;
      const { length } = prompt.prompt_ids;
      if (length + max_new_tokens > max_positions) {
        const room = max_positions - length;
        throw new GleanerError(
          'ERR_GLEANER_USAGE',
          `row ${row.id}: ${length} prompt tokens and ${max_new_tokens} new ones, and the model has ${max_positions} positions`,
          room > 0
            ? `Ask for at most ${room} new tokens (max_new_tokens), or shorten the prompt.`
            : 'Shorten the prompt.',
        );
      }
      for (let sample = 0; sample < num; ++sample) yield { ...prompt, sample, sample_id: sample_id++ };
    }
  }

  /** `sampled` takes every token as it is written: what is whole when the work is aborted is found there. */
  async #generateGroup(
    asked: readonly AskedPrompt[],
    texts: readonly StopStrings[],
    sampled: readonly number[][],
    options: SamplingOptions,
  ): Promise<GeneratedText[]> {
    const stops = options.stop ?? [];
    const watched = stops.length > 0 || options.onText !== undefined;
    const ends = new Set(this.model.eos_token_ids);
    const answers = await this.engine.generate(asked, {
      max_new_tokens: this.#maxNewTokens(options),
      temperature: options.temperature ?? 1,
      top_p: options.top_p ?? 1,
      top_k: options.top_k ?? 0,
      seed: options.seed ?? 0,
      eos_token_ids: this.model.eos_token_ids,
      ...(options.batch_size === undefined ? {} : { batch_size: options.batch_size }),
      signal: options.signal,
      ...((watched || options.signal !== undefined) && {
        onToken: ({ prompt: place, token }) => {
          const [text, row] = [texts[place], asked[place]];
          sampled[place]?.push(token);
          if (!watched || !text || !row || ends.has(token)) return false;
          const fresh = text.push(token);
          if (fresh !== '') options.onText?.({ id: row.id, sample: row.sample, text: fresh });
          return text.stopped;
        },
      }),
    });
    return asked.map((row, place) => {
      const answer = answers[place];
      const ids = [...(answer?.response_ids ?? [])];
      const text = this.#textOf(row, ids, answer?.finish_reason ?? 'length', texts[place], options);
      return { ...text, logprob: answer?.logprob ?? 0 };
    });
  }

  /** The engine gives nothing of work that was aborted: one scoring pass gives the log-probabilities of the answers that had ended. */
  async #finishedAnswers(
    asked: readonly AskedPrompt[],
    texts: readonly StopStrings[],
    sampled: readonly number[][],
    options: SamplingOptions,
  ): Promise<GeneratedText[]> {
    const ends = new Set(this.model.eos_token_ids);
    const finished = asked.flatMap((row, place) => {
      const ids = sampled[place] ?? [];
      const full = ids.length >= this.#maxNewTokens(options);
      const reason: FinishReason = ends.has(ids.at(-1) ?? -1) ? 'eos' : texts[place]?.stopped ? 'stop' : 'length';
      return ids.length > 0 && (full || reason !== 'length') ? [{ row, ids, reason, text: texts[place] }] : [];
    });
    const scores = await this.engine.score(
      finished.map(({ row, ids }) => ({ id: row.id, prompt_ids: row.prompt_ids, response_ids: ids })),
    );
    return finished.map(({ row, ids, reason, text }, place) => ({
      ...this.#textOf(row, ids, reason, text, options),
      logprob: scores[place]?.logprob ?? 0,
    }));
  }

  #textOf(
    { id, sample, prompt, prompt_ids }: AskedPrompt,
    response_ids: number[],
    finish_reason: FinishReason,
    stop: StopStrings | undefined,
    { onText }: SamplingOptions,
  ): GeneratedText {
    const whole = this.tokenizer?.decodeAfter(prompt_ids, response_ids) ?? '';
    const response = finish_reason === 'stop' ? (stop?.text ?? whole) : whole;
    if (onText) {
      // What was held back, since it could have begun a stop text or a character, is certain now.
      const rest = response.slice(stop?.given ?? 0);
      if (rest !== '') onText({ id, sample, text: rest });
    }
    return { id, sample, prompt, response, prompt_ids, response_ids, logprob: 0, finish_reason };
  }

  /**
   * log π(response | prompt) of each row, in order. A demonstration is scored as it would be trained, its EOS included. Where a row cannot be
   * scored, those before it come first, then the error.
   */
  async *score(
    rows: Iterable<Row> | AsyncIterable<Row>,
    options: { signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<ScoredText> {
    const length = ({ prompt_ids, response_ids }: TokenizedRow) => prompt_ids.length + response_ids.length;
    for await (const group of groups(this.#tokenized(rows), SCORED_TOKENS_AT_ONCE, length)) {
      for (const { id, logprob, token_logprobs, greedy } of await this.engine.score(group, options)) {
        yield { id, logprob, token_logprobs: [...token_logprobs], num_tokens: token_logprobs.length, greedy };
      }
    }
  }

  async *#tokenized(rows: Iterable<Row> | AsyncIterable<Row>): AsyncGenerator<TokenizedRow> {
    const { max_positions } = this.model.description.spec;
    for await (const row of rows) {
      const found = this.rowTokenizer.tokenize(row);
      if (!found)
        throw new GleanerError(
          'ERR_GLEANER_DATA',
          `row ${row.id}: there is no response to score in it`,
          'Give prompt and response, messages that end with the assistant, or text.',
        );
      const length = found.prompt_ids.length + found.response_ids.length;
      if (length - 1 > max_positions) {
        throw new GleanerError(
          'ERR_GLEANER_DATA',
          `row ${row.id} has ${length} tokens: the model has ${max_positions} positions`,
          'Shorten or leave out the row.',
        );
      }
      yield found;
    }
  }

  #maxNewTokens({ max_new_tokens }: SamplingOptions): number {
    return max_new_tokens ?? Math.min(NEW_TOKENS, Math.floor(this.model.description.spec.max_positions / 2));
  }

  #needTokenizer(needed: boolean): Tokenizer | undefined {
    if (!needed || this.tokenizer) return this.tokenizer;
    throw new GleanerError(
      'ERR_GLEANER_USAGE',
      'stop texts need a tokenizer, and the model folder has none',
      'Name one: --tokenizer DIR.',
    );
  }

  /** As `close`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Ends running work with an AbortError and frees the model. */
  async close(): Promise<void> {
    await this.engine.close();
  }
}

/** A Hugging Face folder, ready to generate and score. Close it, or use `await using`. */
export async function loadModel(path: string, options: ModelOptions = {}): Promise<LanguageModel> {
  return LanguageModel.load(path, options);
}

/** Items in groups whose sizes sum to `most` or a little more. What was gathered before the source failed is still a group. */
async function* groups<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
  most: number,
  sizeOf: (item: Item) => number,
): AsyncGenerator<Item[]> {
  let group: Item[] = [];
  let size = 0;
  let failure: { error: unknown } | undefined;
  try {
    for await (const item of items) {
      group.push(item);
      size += sizeOf(item);
      if (size < most) continue;
      yield group;
      group = [];
      size = 0;
    }
  } catch (error) {
    failure = { error };
  }
  if (group.length > 0) yield group;
  if (failure) throw failure.error;
}
