// Text to ids and back, as Python's tokenizers does it from the same tokenizer.json. Special tokens are put in by nobody here: the rules of
// tokenize.ts say where BOS and EOS stand.

import { dirname, join } from 'node:path';
import { GleanerError, messageOf } from '../../common/errors.js';
import { clip, dataError } from '../errors.js';
import { TextStream } from './text_stream.js';
import { createLibrary, type Library } from './tokenizer_fixes.js';
import { readTokenizerFiles, type TemplateSource, type TokenizerFiles, textOf } from './tokenizer_json.js';

/** One text of more characters would take minutes and gigabytes. */
export const maxTextLength = 2 ** 20;

/** tokenizer.json: the ids of Python's tokenizers. Errors: ERR_GLEANER_DATA. */
export class Tokenizer {
  /** Highest id + 1. */
  readonly vocab_size: number;
  readonly bos_token_id: number | undefined;
  readonly eos_token_id: number | undefined;
  /** A text begins with BOS where this tokenizer was trained. */
  readonly adds_bos: boolean;
  readonly chat_template: TemplateSource | undefined;
  /** Texts by name (bos_token, eos_token, …), as chat templates see them. */
  readonly special_tokens: Readonly<Record<string, string>>;
  readonly #library: Library;
  readonly #specialIds: ReadonlySet<number>;
  readonly #addedIds: ReadonlySet<number>;
  readonly #start: TextStart | undefined;

  private constructor(
    /** The folder. */
    readonly path: string,
    { json, config, chat_template, vocab_size }: TokenizerFiles,
  ) {
    // The library cleans spaces up where the file does not say; transformers 5 does only where it says so.
    const clean_up_tokenization_spaces = config.clean_up_tokenization_spaces ?? false;
    this.#library = createLibrary(json, { ...config, clean_up_tokenization_spaces }, join(path, 'tokenizer.json'));
    this.vocab_size = vocab_size;
    this.chat_template = chat_template;
    const names = ['bos_token', 'eos_token', 'unk_token', 'pad_token'] as const;
    this.special_tokens = Object.fromEntries(
      names.flatMap((name) => {
        const text = textOf(config[name]);
        return text === undefined ? [] : [[name, text]];
      }),
    );
    this.bos_token_id = this.#idOf(textOf(config.bos_token));
    this.eos_token_id = this.#idOf(textOf(config.eos_token));
    this.adds_bos = this.bos_token_id !== undefined && (config.add_bos_token ?? this.#postProcessorAddsBos());
    const special = new Set((config.additional_special_tokens ?? []).map(textOf));
    this.#addedIds = new Set(json.added_tokens.map(({ id }) => id));
    this.#specialIds = new Set(
      json.added_tokens.filter((token) => token.special || special.has(token.content)).map(({ id }) => id),
    );
    this.#start = textStart(json, (text) => this.encode(text));
  }

  /** From a folder, or from the tokenizer.json in it. */
  static async load(folder: string): Promise<Tokenizer> {
    const path = folder.endsWith('tokenizer.json') ? dirname(folder) : folder;
    const files = await readTokenizerFiles(path);
    try {
      const tokenizer = new Tokenizer(path, files);
      tokenizer.decode(tokenizer.encode('What a damaged file breaks shows here, not in the middle of a run.'));
      return tokenizer;
    } catch (error) {
      if (error instanceof GleanerError) throw error;
      throw dataError(
        `${path}/tokenizer.json: ${clip(messageOf(error))}`,
        'The file is damaged, or of a kind that @huggingface/tokenizers does not know.',
        error,
      );
    }
  }

  /** No special tokens are added; those that stand in the text become their ids. */
  encode(text: string): number[] {
    if (text.length > maxTextLength)
      throw dataError(
        `a text of ${text.length} characters: at most ${maxTextLength} are tokenised at once`,
        'Split the row.',
      );
    // Half of a surrogate pair is no character: U+FFFD, as in every UTF-8 file.
    return this.#library.encode(text.replace(/\p{Surrogate}/gu, '\uFFFD'));
  }

  /**
   * The ids of `text` as it goes on from `before`. Tokenizers of SentencePiece's kind put a space before a text's start; in a continuation
   * there is none. Otherwise the ids are those of encode(text).
   */
  encodeAfter(before: string, text: string): number[] {
    if (this.#start === undefined || before === '' || text === '') return this.encode(text);
    const { anchor, ids: anchorIds, everySection } = this.#start;
    if (everySection && this.isAdded(this.encode(before.slice(-64)).at(-1))) return this.encode(text);
    const ids = this.encode(anchor + text);
    return anchorIds.every((id, place) => ids[place] === id) ? ids.slice(anchorIds.length) : this.encode(text);
  }

  /** Ids that no token has (the padding of a model's vocabulary) give no text. */
  decode(ids: Iterable<number>, { skip_special_tokens = true }: { skip_special_tokens?: boolean } = {}): string {
    const shown = Array.from(ids).filter(
      (id) => this.token(id) !== undefined && !(skip_special_tokens && this.#specialIds.has(id)),
    );
    return shown.length === 0 ? '' : this.#library.decode(shown, { skip_special_tokens: false });
  }

  /** The text of `ids` as it goes on from that of `before`: their leading space stays. */
  decodeAfter(before: Iterable<number>, ids: Iterable<number>): string {
    const start = Array.from(before);
    const rest = Array.from(ids);
    const head = this.decode(start);
    const whole = this.decode([...start, ...rest]);
    if (whole.startsWith(head)) return whole.slice(head.length);
    const stream = this.textStream(start); // a character is half in the one and half in the other
    return rest.map((id) => stream.push(id)).join('') + stream.end();
  }

  /** Turns ids that come one by one into text. `before`: what they go on from. */
  textStream(before: Iterable<number> = []): TextStream {
    return new TextStream((ids) => this.decode(ids), before);
  }

  /** A token as the vocabulary spells it. */
  token(id: number): string | undefined {
    return this.#library.id_to_token(id);
  }

  /** Whether the id is of an added token, which no text around it can change. */
  isAdded(id: number | undefined): boolean {
    return id !== undefined && this.#addedIds.has(id);
  }

  #idOf(token: string | undefined): number | undefined {
    return token === undefined ? undefined : this.#library.token_to_id(token);
  }

  #postProcessorAddsBos(): boolean {
    const first = this.#library.firstSpecialId();
    return first === this.bos_token_id && this.encode('a')[0] !== first;
  }
}

/** What a tokenizer puts before a text's start, and how to see a text without it. */
interface TextStart {
  /** A text that merges with nothing, and its ids with the start before them. */
  anchor: string;
  ids: readonly number[];
  /** The start stands behind every added token too (Llama's older files). */
  everySection: boolean;
}

function textStart(
  { normalizer, pre_tokenizer }: TokenizerFiles['json'],
  encode: (text: string) => number[],
): TextStart | undefined {
  const parts = [...flatten(normalizer), ...flatten(pre_tokenizer)];
  const isStart = (part: Record<string, unknown>) =>
    part.type === 'Prepend' ||
    (part.type === 'Metaspace' && part.prepend_scheme !== 'never' && part.add_prefix_space !== false) ||
    (part.type === 'ByteLevel' && part.add_prefix_space === true);
  if (!parts.some(isStart)) return undefined;
  // White space would be taken in by an added token with lstrip; among bytes, a control character joins with punctuation.
  const anchor = parts.some((part) => part.type === 'ByteLevel') ? '\n' : '\u0001';
  const everySection = !parts.some((part) => isStart(part) && part.prepend_scheme === 'first');
  return { anchor, ids: encode(anchor), everySection };
}

/** The parts of a tokenizer.json's normalizer or pre-tokenizer, those of sequences one by one. */
function flatten(part: unknown): Record<string, unknown>[] {
  if (typeof part !== 'object' || part === null) return [];
  const inner: unknown = Reflect.get(part, 'normalizers') ?? Reflect.get(part, 'pretokenizers');
  return Array.isArray(inner) ? inner.flatMap(flatten) : [{ ...part }];
}
