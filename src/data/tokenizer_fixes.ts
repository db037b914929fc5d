// Where @huggingface/tokenizers 0.2 gives other ids or text than Python's tokenizers 0.23, and the cure of each. test/data/fixes.test.ts
// has a case for every one: a cure whose case passes without it can go.

import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import type { AddedToken } from './tokenizer_json.js';
import { splitWords } from './word_split.js';

/** What we use of the library, whose own types cannot be found by TypeScript's NodeNext. */
export interface Library {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: (number | undefined)[] };
  decode(ids: readonly number[], options: { skip_special_tokens: boolean }): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  readonly pre_tokenizer: unknown;
  readonly decoder: unknown;
  readonly model: unknown;
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
  fixAddedTokens(library, added);
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

/** single_word is ignored by the library, and lstrip and rstrip reach into neighbours that are added tokens themselves. */
function fixAddedTokens(library: Library, added: readonly AddedToken[]): void {
  const odd = added.filter(({ single_word, lstrip, rstrip }) => single_word || lstrip || rstrip);
  if (odd.length === 0) return;
  const rules = new Map(odd.map((token) => [token.content, token]));
  for (const name of ['splitter_unnormalized', 'splitter_normalized']) {
    const splitter: unknown = Reflect.get(library, name);
    if (typeof splitter !== 'object' || splitter === null || !('trie' in splitter)) continue;
    const longestAt = longestMatch(splitter.trie);
    Reflect.set(splitter, 'split', (text: string) => splitAdded(text, longestAt, rules));
  }
  // The splitters have stripped; the library would do it again.
  const tokens: unknown = Reflect.get(library, 'added_tokens');
  for (const token of Array.isArray(tokens) ? tokens : []) Object.assign(token, { lstrip: false, rstrip: false });
}

type Match = (text: string, begin: number) => string | undefined;

/** The longest added token that begins at a place, from the library's own tree of them. */
function longestMatch(trie: unknown): Match {
  return (text, begin) => {
    let found: string | undefined;
    let node: unknown = trie;
    for (let place = begin; place < text.length; ++place) {
      node = typeof node === 'object' && node !== null ? Reflect.get(node, text.charAt(place)) : undefined;
      if (typeof node !== 'object' || node === null) break;
      const end: unknown = Reflect.get(node, 'end');
      if (typeof end === 'string') found = end;
    }
    return found;
  };
}

const endsWithWord = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const startsWithWord = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const isSpace = /^\p{White_Space}$/u;

/** As added_vocabulary.rs of tokenizers does it: leftmost longest, refused inside a word, white space taken along. */
function splitAdded(text: string, longestAt: Match, rules: ReadonlyMap<string, AddedToken>): string[] {
  const sections: string[] = [];
  let begin = 0; // of what no token has taken
  for (let place = 0; place < text.length; ) {
    const token = longestAt(text, place);
    if (token === undefined) {
      place += 1;
      continue;
    }
    let [start, end] = [place, place + token.length];
    place = end;
    const rule = rules.get(token);
    if (
      rule?.single_word &&
      (endsWithWord.test(text.slice(Math.max(0, start - 2), start)) || startsWithWord.test(text.slice(end, end + 2)))
    )
      continue;
    if (rule?.lstrip) while (start > begin && isSpace.test(text.charAt(start - 1))) start -= 1;
    if (rule?.rstrip) while (end < text.length && isSpace.test(text.charAt(end))) end += 1;
    if (start > begin) sections.push(text.slice(begin, start));
    sections.push(token);
    begin = end;
    place = Math.max(place, end);
  }
  if (begin < text.length) sections.push(text.slice(begin));
  return sections;
}
