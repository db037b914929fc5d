// Where @huggingface/tokenizers 0.2 gives other ids or text than Python's tokenizers 0.23, and the cure of each. test/data/fixes.test.ts
// has a case for every one: a cure whose case passes without it can go.

import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { splitter } from './added_tokens.js';
import { type BpeModel, createBpe } from './bpe.js';
import type { AddedToken } from './tokenizer_json.js';

/** What we use of the library, whose own types cannot be found by TypeScript's NodeNext. */
interface HuggingFaceLibrary {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  decode(ids: readonly number[], options: { skip_special_tokens: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  readonly normalizer: ((text: string) => string) | null;
  readonly pre_tokenizer: PreTokenize | null;
  readonly model: ((pieces: readonly string[]) => string[]) & { unk_token_id?: unknown };
  readonly decoder: (((tokens: readonly string[]) => string) & { end_of_word_suffix?: unknown }) | null;
}

type PreTokenize = (text: string, options: { section_index: number }) => string[];
/** Adds their ids to `ids`. */
type EncodePieces = (pieces: readonly string[], ids: number[]) => void;

export interface Library extends Pick<HuggingFaceLibrary, 'decode' | 'token_to_id' | 'id_to_token'> {
  /** Without the special tokens that the post-processor adds. */
  encode(text: string): number[];
  /** The id that the post-processor puts first. */
  firstSpecialId(): number | undefined;
}

/** `file` is named in errors. */
export function createLibrary(
  json: { added_tokens: readonly AddedToken[]; model: BpeModel },
  config: object,
  file: string,
): Library {
  let spell = (piece: string): string => piece;
  const bpe = createBpe(json.model, (piece) => spell(piece), file);
  // The library would build a table of the merges that nobody reads.
  const read = bpe === undefined ? json : { ...json, model: { ...json.model, merges: [] } };
  const library: HuggingFaceLibrary = new HuggingFaceTokenizer(read, config);
  fixWhiteSpace(library.pre_tokenizer);
  fixByteFallback(library.decoder);
  const normalized = normalizedTexts(library, json.added_tokens);
  fixAddedDecoding(library, normalized);
  if (bpe !== undefined) spell = lateSpelling(library.pre_tokenizer) ?? spell;
  const encodePieces: EncodePieces = (pieces, ids) => {
    if (bpe === undefined) for (const id of idsOf(library, library.model(pieces))) ids.push(id);
    else for (const piece of pieces) for (const id of bpe(piece)) ids.push(id);
  };
  return {
    encode: textEncoder(library, json.added_tokens, normalized, encodePieces),
    decode: (ids, options) => library.decode(ids, options),
    token_to_id: (token) => library.token_to_id(token),
    id_to_token: (id) => library.id_to_token(id),
    firstSpecialId: () => library.encode('a', { add_special_tokens: true }).ids[0],
  };
}

function idsOf(library: HuggingFaceLibrary, tokens: readonly string[]): number[] {
  const unknown = library.model.unk_token_id;
  const ids = tokens.map((token) => library.token_to_id(token) ?? unknown);
  return ids.filter((id) => typeof id === 'number');
}

/** \s of JavaScript holds U+FEFF and lacks U+0085; that of Python's regular expressions is Unicode's White_Space. */
function fixWhiteSpace(preTokenizer: unknown): void {
  if (!isPart(preTokenizer)) return;
  if ('tokenizers' in preTokenizer && Array.isArray(preTokenizer.tokenizers))
    preTokenizer.tokenizers.forEach(fixWhiteSpace);
  if (!('byte_encoder' in preTokenizer && 'pattern' in preTokenizer && preTokenizer.pattern instanceof RegExp)) return;
  const { source, flags } = preTokenizer.pattern;
  const fixed = source.replaceAll('\\s', '\\p{White_Space}').replaceAll('\\S', '\\P{White_Space}');
  preTokenizer.pattern = new RegExp(fixed, flags);
}

/** Bytes of a run of byte tokens: U+FEFF at its start stays; a run that is no UTF-8 gives one U+FFFD a byte. */
function fixByteFallback(decoder: unknown): void {
  if (!isPart(decoder)) return;
  if ('decoders' in decoder && Array.isArray(decoder.decoders)) decoder.decoders.forEach(fixByteFallback);
  const { text_decoder, byte_decoder } = { text_decoder: undefined, byte_decoder: undefined, ...decoder };
  if (text_decoder !== undefined && byte_decoder === undefined)
    Reflect.set(decoder, 'text_decoder', new RunDecoder('utf-8', { ignoreBOM: true, fatal: true }));
}

/** The library's parts are functions with properties. */
function isPart(value: unknown): value is object {
  return typeof value === 'function' || (typeof value === 'object' && value !== null);
}

class RunDecoder extends TextDecoder {
  override decode(bytes?: Uint8Array): string {
    try {
      return super.decode(bytes);
    } catch {
      return '\uFFFD'.repeat(bytes?.length ?? 0);
    }
  }
}

/** content → the text that is looked for once the text is normalised; of the tokens for which this is another. */
function normalizedTexts({ normalizer }: HuggingFaceLibrary, added: readonly AddedToken[]): Map<string, string> {
  if (normalizer === null) return new Map();
  const texts = added
    .filter((token) => isNormalized(token))
    .map(({ content }): [string, string] => [content, normalizer(content)]);
  return new Map(texts.filter(([content, text]) => text !== content && text !== ''));
}

const isNormalized = ({ normalized, special }: AddedToken) => normalized ?? !special;

/**
 * Byte-level pre-tokenizers write each byte as a letter of their own. Where such a one comes last, words are handed on as they stand in the text,
 * and only those that no cache knows are spelled so.
 */
function lateSpelling(preTokenizer: unknown): ((word: string) => string) | undefined {
  if (!isPart(preTokenizer)) return undefined;
  if ('tokenizers' in preTokenizer)
    return Array.isArray(preTokenizer.tokenizers) ? lateSpelling(preTokenizer.tokenizers.at(-1)) : undefined;
  if (!('byte_encoder' in preTokenizer)) return undefined;
  const { byte_encoder } = preTokenizer;
  const pattern: unknown = Reflect.get(preTokenizer, 'pattern');
  const { use_regex, add_prefix_space } = { use_regex: true, add_prefix_space: false, ...preTokenizer };
  if (typeof byte_encoder !== 'object' || byte_encoder === null || !(pattern instanceof RegExp)) return undefined;
  const letters = Array.from({ length: 256 }, (_, byte) => String(Reflect.get(byte_encoder, byte)));
  const encoder = new TextEncoder();
  const words = (text: string): string[] => {
    const whole = add_prefix_space && !text.startsWith(' ') ? ` ${text}` : text;
    return use_regex ? (whole.match(pattern) ?? []) : [whole];
  };
  Reflect.set(preTokenizer, 'pre_tokenize_text', words);
  return (word) => Array.from(encoder.encode(word), (byte) => letters[byte]).join('');
}

/**
 * The library ignores single_word, lets lstrip and rstrip reach into neighbours, and takes any text that equals an added token for it, also where
 * that was refused. Here is its encode_text with a splitter of our own.
 */
function textEncoder(
  library: HuggingFaceLibrary,
  added: readonly AddedToken[],
  normalized: ReadonlyMap<string, string>,
  encodePieces: EncodePieces,
): (text: string) => number[] {
  const { normalizer, pre_tokenizer } = library;
  const late = new Set(added.filter(isNormalized));
  const splitRaw = splitter(new Map(added.filter((token) => !late.has(token)).map((token) => [token.content, token])));
  const splitNormalized = splitter(
    new Map([...late].map((token) => [normalized.get(token.content) ?? token.content, token])),
  );
  const idOf = (token: AddedToken): number => library.token_to_id(token.content) ?? token.id;
  return (text) => {
    const ids: number[] = [];
    for (const [place, section] of splitRaw(text).entries()) {
      if (section.token !== undefined) {
        ids.push(idOf(section.token));
        continue;
      }
      const pieces = splitNormalized(normalizer === null ? section.text : normalizer(section.text));
      for (const [inner, piece] of pieces.entries()) {
        if (piece.token !== undefined) ids.push(idOf(piece.token));
        else if (piece.text !== '') {
          // Metaspace's prepend_scheme first asks for the place.
          const section_index = place + inner;
          encodePieces(pre_tokenizer === null ? [piece.text] : pre_tokenizer(piece.text, { section_index }), ids);
        }
      }
    }
    return ids;
  };
}

/** Python decodes an added token that is looked for in normalised text as that text: a ▁ before it is a space. */
function fixAddedDecoding(library: HuggingFaceLibrary, normalized: ReadonlyMap<string, string>): void {
  const { decoder } = library;
  if (normalized.size === 0 || decoder === null) return;
  const decode = (tokens: readonly string[]) => decoder(tokens.map((token) => normalized.get(token) ?? token));
  Reflect.set(library, 'decoder', Object.assign(decode, { end_of_word_suffix: decoder.end_of_word_suffix }));
}
