// Where @huggingface/tokenizers 0.2 gives other ids or text than Python's tokenizers 0.23, and the cure of each. test/data/fixes.test.ts
// has a case for every one: a cure whose case passes without it can go.

import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { splitter } from './added_tokens.js';
import type { AddedToken } from './tokenizer_json.js';
import { splitWords } from './word_split.js';

/** What we use of the library, whose own types cannot be found by TypeScript's NodeNext. */
export interface Library {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  decode(ids: readonly number[], options: { skip_special_tokens: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  readonly normalizer: ((text: string) => string) | null;
  readonly pre_tokenizer: ((text: string, options: { section_index: number }) => string[]) | null;
  readonly model: (pieces: readonly string[]) => string[];
  readonly decoder: (((tokens: readonly string[]) => string) & { end_of_word_suffix?: unknown }) | null;
}

export function createLibrary(json: { added_tokens: readonly AddedToken[] }, config: object): Library {
  const library: Library = new HuggingFaceTokenizer(json, config);
  applyFixes(library, json.added_tokens);
  splitWords(library.model);
  return library;
}

function applyFixes(library: Library, added: readonly AddedToken[]): void {
  fixWhiteSpace(library.pre_tokenizer);
  fixByteFallback(library.decoder);
  const normalized = normalizedTexts(library, added);
  fixAddedTokens(library, added, normalized);
  fixAddedDecoding(library, normalized);
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
function normalizedTexts({ normalizer }: Library, added: readonly AddedToken[]): Map<string, string> {
  if (normalizer === null) return new Map();
  const texts = added
    .filter((token) => isNormalized(token))
    .map(({ content }): [string, string] => [content, normalizer(content)]);
  return new Map(texts.filter(([content, text]) => text !== content && text !== ''));
}

const isNormalized = ({ normalized, special }: AddedToken) => normalized ?? !special;

/**
 * The library ignores single_word, lets lstrip and rstrip reach into neighbours, and takes any text that equals an added token for it, also where
 * that was refused. Here is its encode_text with a splitter of our own.
 */
function fixAddedTokens(library: Library, added: readonly AddedToken[], normalized: ReadonlyMap<string, string>): void {
  const { normalizer, pre_tokenizer, model } = library;
  const late = added.filter(isNormalized);
  const splitRaw = splitter(
    new Map(added.filter((token) => !late.includes(token)).map((token) => [token.content, token])),
  );
  const splitNormalized = splitter(
    new Map(late.map((token) => [normalized.get(token.content) ?? token.content, token])),
  );
  const encodeText = (text: string | null): string[] | null =>
    text === null
      ? null
      : splitRaw(text).flatMap((section, place) => {
          if (section.token !== undefined) return [section.text];
          const pieces = splitNormalized(normalizer === null ? section.text : normalizer(section.text));
          return pieces.flatMap((piece, inner) => {
            if (piece.token !== undefined) return [piece.text];
            if (piece.text === '') return [];
            // Metaspace's prepend_scheme first asks for the place.
            const section_index = place + inner;
            return model(pre_tokenizer === null ? [piece.text] : pre_tokenizer(piece.text, { section_index }));
          });
        });
  Reflect.set(library, 'encode_text', encodeText);
}

/** Python decodes an added token that is looked for in normalised text as that text: a ▁ before it is a space. */
function fixAddedDecoding(library: Library, normalized: ReadonlyMap<string, string>): void {
  const { decoder } = library;
  if (normalized.size === 0 || decoder === null) return;
  const decode = (tokens: readonly string[]) => decoder(tokens.map((token) => normalized.get(token) ?? token));
  Reflect.set(library, 'decoder', Object.assign(decode, { end_of_word_suffix: decoder.end_of_word_suffix }));
}
