// A model folder as text in, text out: what `gleaner generate` and `gleaner score` do, for programs.

import { GleanerError } from '../common/errors.js';
import type { Row } from '../data/rows.js';
import { RowTokenizer, type TokenizeSettings } from '../data/tokenize.js';
import type { Tokenizer } from '../data/tokenizer.js';
import { Engine, type EngineOptions } from '../engine/engine.js';
import type { FinishReason } from '../engine/types.js';
import { type PreparedModel, prepareModel } from './prepare.js';
import { StopStrings } from './stop_strings.js';

/** Answers that are sampled, or rows that are scored, together; what a row gets does not depend on it. */
const ROWS_AT_ONCE = 256;
/** A prompt that long would not be cut: text is refused, not shortened, where it does not fit. */
const NO_LIMIT = Number.MAX_SAFE_INTEGER;

export interface ModelOptions extends EngineOptions {
  /** A folder with tokenizer.json; default: the model's. */
  tokenizer?: string | undefined;
  template?: TokenizeSettings['template'] | undefined;
  bos?: TokenizeSettings['bos'] | undefined;
}

export interface SamplingOptions {
  max_new_tokens?: number | undefined;
  /** 0: greedy. */
  temperature?: number | undefined;
  top_p?: number | undefined;
  /** 0: off. */
  top_k?: number | undefined;
  seed?: number | undefined;
  /** Answers to each prompt. */
  num?: number | undefined;
  /** Texts that end an answer; what comes from there on is not in `response`. */
  stop?: readonly string[] | undefined;
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

export interface ScoredText {
  id: string;
  /** Sum of token_logprobs. */
  logprob: number;
  token_logprobs: number[];
  num_tokens: number;
  /** The response is what greedy sampling would write. */
  greedy: boolean;
}

export class LanguageModel implements AsyncDisposable {
  private constructor(
    readonly engine: Engine,
    readonly tokenizer: Tokenizer | undefined,
    private readonly model: PreparedModel,
    private readonly rowTokenizer: RowTokenizer,
  ) {}

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

  /** Answers in the order of the rows; a row's own response, if it has one, is not looked at. */
  async *generate(
    rows: Iterable<Row> | AsyncIterable<Row>,
    options: SamplingOptions = {},
  ): AsyncGenerator<GeneratedText> {
    const num = options.num ?? 1;
    if (!Number.isSafeInteger(num) || num < 1)
      throw new GleanerError('ERR_GLEANER_USAGE', `num is ${num}: a whole number from 1 is needed`);
    for await (const group of groups(this.#asked(rows, num), ROWS_AT_ONCE)) {
      yield* await this.#generateGroup(group, options);
    }
  }

  /** Each row's prompt, as often as it is to be answered. */
  async *#asked(rows: Iterable<Row> | AsyncIterable<Row>, num: number): AsyncGenerator<AskedPrompt> {
    let sample_id = 0;
    for await (const row of rows) {
      const prompt = this.rowTokenizer.prompt(row);
      if (!prompt)
        throw new GleanerError(
          'ERR_GLEANER_DATA',
          `row ${row.id}: there is nothing to answer in it`,
          'Give a prompt, or messages.',
        );
      for (let sample = 0; sample < num; ++sample) yield { ...prompt, sample, sample_id: sample_id++ };
    }
  }

  async #generateGroup(asked: readonly AskedPrompt[], options: SamplingOptions): Promise<GeneratedText[]> {
    const stops = options.stop ?? [];
    const tokenizer = this.#needTokenizer(stops.length > 0);
    const texts = asked.map(({ prompt_ids }) => new StopStrings(tokenizer, prompt_ids, stops));
    const watched = stops.length > 0 || options.onText !== undefined;
    const ends = new Set(this.model.eos_token_ids);
    const answers = await this.engine.generate(asked, {
      max_new_tokens: options.max_new_tokens ?? 256,
      temperature: options.temperature ?? 1,
      top_p: options.top_p ?? 1,
      top_k: options.top_k ?? 0,
      seed: options.seed ?? 0,
      eos_token_ids: this.model.eos_token_ids,
      ...(options.batch_size === undefined ? {} : { batch_size: options.batch_size }),
      signal: options.signal,
      ...(watched && {
        onToken: ({ prompt: place, token }) => {
          const [text, row] = [texts[place], asked[place]];
          if (!text || !row || ends.has(token)) return false;
          const fresh = text.push(token);
          if (fresh !== '') options.onText?.({ id: row.id, sample: row.sample, text: fresh });
          return text.stopped;
        },
      }),
    });
    return answers.map((answer, place) => {
      const { id, sample, prompt, prompt_ids } = asked[place] ?? { id: '', sample: 0, prompt: '', prompt_ids: [] };
      const response_ids = [...answer.response_ids];
      const text = this.tokenizer?.decodeAfter(prompt_ids, response_ids) ?? '';
      const response = answer.finish_reason === 'stop' ? (texts[place]?.text ?? text) : text;
      if (options.onText) {
        // What was held back, since it could have begun a stop text or a character, is certain now.
        const rest = response.slice(texts[place]?.given ?? 0);
        if (rest !== '') options.onText({ id, sample, text: rest });
      }
      return {
        id,
        sample,
        prompt,
        response,
        prompt_ids,
        response_ids,
        logprob: answer.logprob,
        finish_reason: answer.finish_reason,
      };
    });
  }

  /** log π(response | prompt) of each row, in order. A demonstration is scored as it would be trained, its EOS included. */
  async *score(
    rows: Iterable<Row> | AsyncIterable<Row>,
    options: { signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<ScoredText> {
    for await (const group of groups(rows, ROWS_AT_ONCE)) {
      const tokens = group.map((row) => {
        const found = this.rowTokenizer.tokenize(row);
        if (!found)
          throw new GleanerError(
            'ERR_GLEANER_DATA',
            `row ${row.id}: there is no response to score in it`,
            'Give prompt and response, messages that end with the assistant, or text.',
          );
        return found;
      });
      this.#checkLengths(tokens);
      for (const { id, logprob, token_logprobs, greedy } of await this.engine.score(tokens, options)) {
        yield { id, logprob, token_logprobs: [...token_logprobs], num_tokens: token_logprobs.length, greedy };
      }
    }
  }

  #checkLengths(rows: readonly { id: string; prompt_ids: readonly number[]; response_ids: readonly number[] }[]): void {
    const { max_positions } = this.model.description.spec;
    for (const { id, prompt_ids, response_ids } of rows) {
      const length = prompt_ids.length + response_ids.length;
      if (length - 1 > max_positions) {
        throw new GleanerError(
          'ERR_GLEANER_DATA',
          `row ${id} has ${length} tokens: the model has ${max_positions} positions`,
          'Shorten or leave out the row.',
        );
      }
    }
  }

  #needTokenizer(needed: boolean): Tokenizer | undefined {
    if (!needed || this.tokenizer) return this.tokenizer;
    throw new GleanerError(
      'ERR_GLEANER_USAGE',
      'stop texts need a tokenizer, and the model folder has none',
      'Name one: --tokenizer DIR.',
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async close(): Promise<void> {
    await this.engine.close();
  }
}

/** A Hugging Face folder, ready to generate and score. Close it, or use `await using`. */
export async function loadModel(path: string, options: ModelOptions = {}): Promise<LanguageModel> {
  return LanguageModel.load(path, options);
}

async function* groups<Item>(items: Iterable<Item> | AsyncIterable<Item>, size: number): AsyncGenerator<Item[]> {
  let group: Item[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
}
