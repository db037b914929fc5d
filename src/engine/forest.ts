// Token ids → forests: prompts that responses share stand once, nothing is padded, trees are packed into micro-batches by a token budget in
// the order of the data.

import { GleanerError } from '../common/errors.js';
import type { NativeMicroBatch } from './addon.js';
import type { PairRow, TokenIds, TokenRow } from './types.js';

/** Segments of one tree (parent: index within the tree, -1: root) and the sequences whose log-probabilities are asked for. */
export interface Tree {
  segments: { parent: number; ids: TokenIds }[];
  /** tokens[i] is predicted at token rows[i] of the tree (its segments one after the other). */
  sequences: { rows: Int32Array; tokens: TokenIds }[];
  /** Indices of sequences and the reference's sums. */
  pairs: { real: number; generated: number; ref_real: number; ref_generated: number }[];
}

export function treeTokens(tree: Tree): number {
  return tree.segments.reduce((sum, segment) => sum + segment.ids.length, 0);
}

/**
 * One prompt and its responses. A response's first token is predicted at the prompt's last row; its last token is predicted but predicts
 * nothing, so it is not computed. One response alone is one segment with its prompt.
 */
export function treeOf(id: string, prompt: TokenIds, responses: readonly TokenIds[]): Tree {
  if (prompt.length === 0) {
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      `row ${id}: the prompt has no tokens`,
      'a first token is needed to predict the next: add a BOS token or text',
    );
  }
  const segments: Tree['segments'] = [{ parent: -1, ids: prompt }];
  const sequences: Tree['sequences'] = [];
  let start = prompt.length;
  for (const response of responses) {
    const inputs = Math.max(0, response.length - 1);
    const rows = Int32Array.from({ length: response.length }, (_, i) => (i === 0 ? prompt.length - 1 : start + i - 1));
    sequences.push({ rows, tokens: response });
    if (inputs > 0) segments.push({ parent: 0, ids: response.slice(0, inputs) });
    start += inputs;
  }
  const [, only] = segments;
  if (only !== undefined && segments.length === 2)
    return { segments: [{ parent: -1, ids: [...prompt, ...only.ids] }], sequences, pairs: [] };
  return { segments, sequences, pairs: [] };
}

export function treeOfRow(row: TokenRow): Tree {
  return treeOf(row.id, row.prompt_ids, [row.response_ids]);
}

/** prompt → {y, ỹ}: the prompt is computed once, forward and backward. */
export function treeOfPair(pair: PairRow): Tree {
  const tree = treeOf(pair.id, pair.prompt_ids, [pair.real_ids, pair.generated_ids]);
  tree.pairs.push({ real: 0, generated: 1, ref_real: pair.ref_real, ref_generated: pair.ref_generated });
  return tree;
}

/** Rows that follow each other with one prompt (the choices of a question) share it, as far as the budget goes. */
export function treesOfRows(rows: readonly TokenRow[], budget: number): Tree[] {
  const trees: Tree[] = [];
  for (let begin = 0; begin < rows.length; ) {
    const first = rows[begin];
    if (first === undefined) break;
    const responses = [first.response_ids];
    let tokens = first.prompt_ids.length + first.response_ids.length;
    let end = begin + 1;
    for (let next = rows[end]; next !== undefined && sameIds(next.prompt_ids, first.prompt_ids); next = rows[++end]) {
      tokens += next.response_ids.length;
      if (tokens > budget) break;
      responses.push(next.response_ids);
    }
    trees.push(treeOf(first.id, first.prompt_ids, responses));
    begin = end;
  }
  return trees;
}

/** Trees in order, as many in a micro-batch as the budget of tokens holds. A tree is never split: one above the budget stands alone. */
export function packTrees(trees: readonly Tree[], budget: number): Tree[][] {
  const packed: Tree[][] = [];
  let current: Tree[] = [];
  let tokens = 0;
  for (const tree of trees) {
    const size = treeTokens(tree);
    if (current.length > 0 && tokens + size > budget) {
      packed.push(current);
      current = [];
      tokens = 0;
    }
    current.push(tree);
    tokens += size;
  }
  if (current.length > 0) packed.push(current);
  return packed;
}

/** Trees side by side in one stream. */
export function microBatch(trees: readonly Tree[]): NativeMicroBatch {
  const ids: number[] = [];
  const segments: number[] = [];
  const targets: number[] = [];
  const sequences: number[] = [];
  const pairs: number[] = [];
  const references: number[] = [];
  for (const tree of trees) {
    const firstRow = ids.length;
    const firstSegment = segments.length / 2;
    const firstSequence = sequences.length / 2;
    for (const { parent, ids: tokens } of tree.segments) {
      segments.push(tokens.length, parent < 0 ? -1 : firstSegment + parent);
      for (const token of tokens) ids.push(checkedId(token));
    }
    for (const { rows, tokens } of tree.sequences) {
      sequences.push(targets.length / 2, tokens.length);
      for (const [i, row] of rows.entries()) targets.push(firstRow + row, checkedId(tokens[i] ?? -1));
    }
    for (const pair of tree.pairs) {
      pairs.push(firstSequence + pair.real, firstSequence + pair.generated);
      references.push(pair.ref_real, pair.ref_generated);
    }
  }
  return {
    ids: Int32Array.from(ids),
    segments: Int32Array.from(segments),
    targets: Int32Array.from(targets),
    sequences: Int32Array.from(sequences),
    pairs: Int32Array.from(pairs),
    references: Float64Array.from(references),
  };
}

/** Ids as native takes them. */
export function int32Ids(ids: TokenIds): Int32Array {
  return Int32Array.from(ids, checkedId);
}

/** An id that 32 bits do not hold would become another token on its way. Native compares with the vocabulary. */
function checkedId(id: number): number {
  if ((id | 0) !== id)
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      `token id ${id} is not a whole number below 2^31`,
      'use the tokenizer that belongs to this model',
    );
  return id;
}

function sameIds(a: TokenIds, b: TokenIds): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
