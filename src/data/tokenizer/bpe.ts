// Byte-pair encoding as Python's tokenizers does it: of all neighbours that a merge joins, the one whose merge stands first in the list, the
// leftmost of equals, until none is left. On ids, with a heap for long pieces and a cache of words, so that a text of any kind takes time
// proportional to its length (times its logarithm).

import { dataError, show } from '../errors.js';

/** `model` of a tokenizer.json, what counts of it. */
export interface BpeModel {
  type?: unknown;
  vocab?: unknown;
  merges?: unknown;
  unk_token?: unknown;
  fuse_unk?: unknown;
  byte_fallback?: unknown;
  ignore_merges?: unknown;
  continuing_subword_prefix?: unknown;
  end_of_word_suffix?: unknown;
}

/** Ids of a piece of text, as the pre-tokenizer gives it. */
export type EncodePiece = (piece: string) => readonly number[];

const mostCachedWords = 2 ** 15;
const longestCachedWord = 64;
/** Above this many symbols the heap is faster than looking at all pairs again. */
const fewSymbols = 24;

/**
 * undefined: a model of another kind, or with settings whose arithmetic is not here. `spell` is a piece as the vocabulary writes it.
 * `where` is named in errors.
 */
export function createBpe(model: BpeModel, spell: (piece: string) => string, where: string): EncodePiece | undefined {
  const { vocab, merges } = model;
  const plain = !model.continuing_subword_prefix && !model.end_of_word_suffix;
  if (model.type !== 'BPE' || !plain || typeof vocab !== 'object' || vocab === null || !Array.isArray(merges))
    return undefined;
  const ids = new Map<string, number>(Object.entries(vocab));
  const pairs = merges.map((merge: unknown) => (Array.isArray(merge) ? merge : String(merge).split(' ')).map(String));
  const table = mergeTable(ids, pairs, where);
  const symbols = symbolsOf(model, ids);
  const encode = (raw: string): readonly number[] => {
    const piece = spell(raw);
    const whole = model.ignore_merges === true ? ids.get(piece) : undefined;
    if (whole !== undefined) return [whole];
    const word = symbols(piece);
    return word.length <= fewSymbols ? mergeFew(word, table) : mergeMany(word, table);
  };
  return cached(splitsAtWords(ids, pairs) && model.ignore_merges !== true ? byWords(cached(encode)) : encode);
}

function cached(encode: EncodePiece): EncodePiece {
  const known = new Map<string, readonly number[]>();
  return (piece) => {
    if (piece.length > longestCachedWord) return encode(piece);
    const old = known.get(piece);
    if (old !== undefined) return old;
    if (known.size >= mostCachedWords) known.clear();
    const ids = encode(piece);
    known.set(piece, ids);
    return ids;
  };
}

/**
 * For tokenizers of SentencePiece's kind the whole text is one piece. Where no merge makes a token that has ▁ behind another character, nothing
 * ever joins across the start of a run of ▁, and the merges on either side do not depend on the other side: the text is cut there.
 */
export function splitsAtWords(ids: ReadonlyMap<string, number>, pairs: readonly (readonly string[])[]): boolean {
  const joined = pairs.map((pair) => pair.join(''));
  return ids.has('▁') && joined.some((token) => token.startsWith('▁')) && !joined.some((token) => /[^▁]▁/u.test(token));
}

function byWords(encode: EncodePiece): EncodePiece {
  return (piece) => {
    const words = piece.match(/▁+[^▁]*|[^▁]+/gu) ?? [];
    if (words.length === 1) return encode(piece);
    const ids: number[] = [];
    for (const word of words) for (const id of encode(word)) ids.push(id);
    return ids;
  };
}

/** Characters as ids: a character that is no token is its bytes, the unknown token, or nothing. */
function symbolsOf(model: BpeModel, ids: ReadonlyMap<string, number>): (piece: string) => number[] {
  const unknown = typeof model.unk_token === 'string' ? ids.get(model.unk_token) : undefined;
  const bytes = Array.from({ length: model.byte_fallback === true ? 256 : 0 }, (_, byte) =>
    ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
  const encoder = new TextEncoder();
  return (piece) => {
    const symbols: number[] = [];
    let fused = false; // the last symbol is an unknown token that takes in the next
    for (const character of piece) {
      const id = ids.get(character);
      const parts = id !== undefined ? [id] : bytes.length > 0 ? bytesOf(character) : undefined;
      if (parts !== undefined) symbols.push(...parts);
      else if (unknown !== undefined && !fused) symbols.push(unknown);
      fused = parts === undefined && model.fuse_unk === true;
    }
    return symbols;
  };
  function bytesOf(character: string): number[] | undefined {
    const parts: number[] = [];
    for (const byte of encoder.encode(character)) {
      const id = bytes[byte];
      if (id === undefined) return undefined;
      parts.push(id);
    }
    return parts;
  }
}

/** Pair of ids → place of its merge in the list and what it makes: open addressing in typed arrays. */
class MergeTable {
  readonly #mask: number;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly ranks: Int32Array;
  readonly made: Int32Array;

  constructor(merges: number) {
    const size = 2 ** Math.ceil(Math.log2(merges * 2 + 2));
    this.#mask = size - 1;
    this.#left = new Int32Array(size).fill(-1);
    this.#right = new Int32Array(size);
    this.ranks = new Int32Array(size);
    this.made = new Int32Array(size);
  }

  /** The slot of a pair; of one that is absent, a free slot, whose rank is told by has(). */
  slot(left: number, right: number): number {
    let slot = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)) >>> 7;
    for (slot &= this.#mask; ; slot = (slot + 1) & this.#mask) {
      const found = this.#left[slot];
      if (found === -1 || (found === left && this.#right[slot] === right)) return slot;
    }
  }

  has(slot: number): boolean {
    return this.#left[slot] !== -1;
  }

  set(left: number, right: number, rank: number, made: number): void {
    const slot = this.slot(left, right);
    this.#left[slot] = left;
    this.#right[slot] = right;
    this.ranks[slot] = rank;
    this.made[slot] = made;
  }
}

function mergeTable(
  ids: ReadonlyMap<string, number>,
  pairs: readonly (readonly string[])[],
  where: string,
): MergeTable {
  const table = new MergeTable(pairs.length);
  for (const [rank, [left = '', right = '']] of pairs.entries()) {
    const idOf = (token: string): number => {
      const id = ids.get(token);
      if (id !== undefined) return id;
      throw dataError(
        `${where}: model.merges[${rank}]: ${show(token)} is not in model.vocab`,
        'The file is damaged: copy it again.',
      );
    };
    table.set(idOf(left), idOf(right), rank, idOf(left + right));
  }
  return table;
}

function mergeFew(symbols: number[], table: MergeTable): number[] {
  const slotAt = (place: number): number => {
    const slot = table.slot(symbols[place] ?? -1, symbols[place + 1] ?? -1);
    return table.has(slot) ? slot : -1;
  };
  const slots = symbols.map((_, place) => (place + 1 < symbols.length ? slotAt(place) : -1));
  for (;;) {
    let best = -1;
    let lowest = Number.POSITIVE_INFINITY;
    for (let place = 0; place + 1 < symbols.length; ++place) {
      const slot = slots[place] ?? -1;
      const rank = slot < 0 ? lowest : (table.ranks[slot] ?? lowest);
      if (rank < lowest) [best, lowest] = [place, rank];
    }
    if (best < 0) return symbols;
    symbols[best] = table.made[slots[best] ?? 0] ?? 0;
    symbols.splice(best + 1, 1);
    slots.splice(best + 1, 1);
    if (best > 0) slots[best - 1] = slotAt(best - 1);
    slots[best] = best + 1 < symbols.length ? slotAt(best) : -1;
  }
}

/** Keys of the heap are rank · length + place, so the smallest is the merge that comes next. */
function mergeMany(symbols: number[], table: MergeTable): number[] {
  const length = symbols.length;
  const next = Int32Array.from(symbols, (_, place) => (place + 1 < length ? place + 1 : -1));
  const before = Int32Array.from(symbols, (_, place) => place - 1);
  const gone = new Uint8Array(length);
  const heap: number[] = [];
  const offer = (place: number): void => {
    const right = next[place] ?? -1;
    if (right < 0) return;
    const slot = table.slot(symbols[place] ?? -1, symbols[right] ?? -1);
    if (table.has(slot)) push(heap, (table.ranks[slot] ?? 0) * length + place);
  };
  for (let place = 0; place < length; ++place) offer(place);
  while (heap.length > 0) {
    const key = pop(heap);
    const place = key % length;
    const right = next[place] ?? -1;
    if (gone[place] === 1 || right < 0) continue;
    const slot = table.slot(symbols[place] ?? -1, symbols[right] ?? -1);
    // One of the two has become another since this was offered.
    if (!table.has(slot) || table.ranks[slot] !== (key - place) / length) continue;
    symbols[place] = table.made[slot] ?? 0;
    gone[right] = 1;
    const after = next[right] ?? -1;
    next[place] = after;
    if (after >= 0) before[after] = place;
    offer(place);
    const left = before[place] ?? -1;
    if (left >= 0) offer(left);
  }
  return symbols.filter((_, place) => gone[place] === 0);
}

function push(heap: number[], key: number): void {
  let place = heap.length;
  heap.push(key);
  while (place > 0) {
    const parent = (place - 1) >> 1;
    const above = heap[parent] ?? 0;
    if (above <= key) break;
    heap[place] = above;
    place = parent;
  }
  heap[place] = key;
}

function pop(heap: number[]): number {
  const top = heap[0] ?? 0;
  const key = heap.pop() ?? 0;
  const size = heap.length;
  if (size === 0) return top;
  let place = 0;
  for (;;) {
    let child = 2 * place + 1;
    if (child >= size) break;
    if (child + 1 < size && (heap[child + 1] ?? 0) < (heap[child] ?? 0)) child += 1;
    const below = heap[child] ?? 0;
    if (below >= key) break;
    heap[place] = below;
    place = child;
  }
  heap[place] = key;
  return top;
}
