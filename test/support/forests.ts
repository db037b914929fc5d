// Trees of random segments with their stand-alone copies, and rows of all lengths.

import type { Tree } from '../../src/engine/forest.js';
import type { PairRow, TokenRow, UpdateBatch } from '../../src/engine/types.js';
import { randomIds, randomNumbers } from './engines.js';

export interface Node {
  parent: number;
  ids: number[];
  /** Token after each of the node's own, and after its parent's last: what is asked for. */
  targets: number[];
  before: number[];
}

/** A tree of `count` segments and targets on most of them, a prompt's among them. */
export function randomTree(random: () => number, count: number, longest: number): Node[] {
  return Array.from({ length: count }, (_, i) => {
    const length = random() < 0.25 ? 1 : 1 + Math.floor(random() * longest);
    const parent = i === 0 ? -1 : random() < 0.5 ? i - 1 : Math.floor(random() * i);
    const trained = i > 0 || random() < 0.3;
    return {
      parent,
      ids: randomIds(random, length),
      targets: trained ? randomIds(random, length) : [],
      before: i > 0 && trained ? randomIds(random, 1) : [],
    };
  });
}

const asTree = (segments: Tree['segments'], sequences: Tree['sequences']): Tree => ({ segments, sequences, pairs: [] });

/** One tree whose segments are shared. */
export function shared(nodes: readonly Node[]): Tree {
  const starts: number[] = [];
  let tokens = 0;
  for (const { ids } of nodes) {
    starts.push(tokens);
    tokens += ids.length;
  }
  const lastRow = (node: number): number => (starts[node] ?? 0) + (nodes[node]?.ids.length ?? 0) - 1;
  const sequences = nodes.map(({ parent, targets, before }, i) => ({
    rows: Int32Array.from([...before.map(() => lastRow(parent)), ...targets.map((_, t) => (starts[i] ?? 0) + t)]),
    tokens: [...before, ...targets],
  }));
  return asTree(
    nodes.map(({ parent, ids }) => ({ parent, ids })),
    sequences,
  );
}

/** Each segment with a copy of all that stands above it, in a root of its own. */
export function copied(nodes: readonly Node[]): Tree[] {
  const path = (node: number): number[] => {
    const at = nodes[node];
    return at === undefined ? [] : [...path(at.parent), ...at.ids];
  };
  return nodes.map(({ targets, before, ids }, i) => {
    const all = path(i);
    const start = all.length - ids.length;
    const rows = Int32Array.from([...before.map(() => start - 1), ...targets.map((_, t) => start + t)]);
    return asTree([{ parent: -1, ids: all }], [{ rows, tokens: [...before, ...targets] }]);
  });
}

/** 16 rows whose sequences have lengths 1 (a prompt that predicts one token) to about 200. */
export function rowsOfAllLengths(): TokenRow[] {
  const random = randomNumbers(16);
  const lengths = [1, 2, 3, 5, 8, 13, 17, 31, 32, 33, 64, 65, 100, 127, 160, 200];
  return lengths.map((length, i) => {
    const prompt = length < 3 ? 1 : 1 + Math.floor(random() * (length / 2));
    return { id: `${i}`, prompt_ids: randomIds(random, prompt), response_ids: randomIds(random, length - prompt + 1) };
  });
}

export function pairsOfAllLengths(): PairRow[] {
  const random = randomNumbers(17);
  return rowsOfAllLengths().map(({ id, prompt_ids, response_ids }, i) => ({
    id,
    prompt_ids,
    real_ids: response_ids,
    generated_ids: randomIds(random, 1 + ((7 * i) % 40)),
    ref_real: -4 * response_ids.length,
    ref_generated: -4 * (1 + ((7 * i) % 40)),
  }));
}

/** A step of each native objective. */
export const batches: Record<'sft' | 'pair', UpdateBatch> = {
  sft: { objective: { name: 'sft' }, rows: rowsOfAllLengths() },
  pair: { objective: { name: 'pair', loss: 'logistic', beta: 0.1, nll_weight: 0.3 }, pairs: pairsOfAllLengths() },
};
