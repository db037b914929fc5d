// The batches of a round: its rows in epochs, each in a new order, read ahead of the engine.

import { RowOrder } from '../data/stream/order.js';
import type { RowSource } from '../data/stream/row_source.js';

/** Rows ahead of the engine that are announced to the reader: enough for it to be in the next window before the engine is. */
const ROWS_AHEAD = 4096;

export interface BatchPlan {
  batch_size: number;
  /** Optimiser steps in all. */
  steps: number;
  /** Batches that an interrupted run has done; they are passed over. */
  begin: number;
  seed: number;
  round: number;
  shuffle: boolean;
}

export interface BatchPlaces {
  /** Rows [begin, end) of the epoch's order. */
  order: RowOrder;
  begin: number;
  end: number;
  /** Epochs done after this batch. */
  epoch: number;
}

/** Which rows each batch has: epochs that each go once through all rows; the last batch of one may be smaller. */
export function* batchPlaces(batch_rows: readonly number[], plan: BatchPlan): Generator<BatchPlaces> {
  const { batch_size, steps, begin: first, seed, round, shuffle } = plan;
  const length = batch_rows.reduce((sum, rows) => sum + rows, 0);
  const batchesOfEpoch = Math.ceil(length / batch_size);
  if (batchesOfEpoch === 0) return;
  let order: RowOrder | undefined;
  for (let step = first; step < steps; ++step) {
    const epoch = Math.floor(step / batchesOfEpoch);
    const begin = (step % batchesOfEpoch) * batch_size;
    if (order === undefined || begin === 0)
      order = new RowOrder({ seed, purpose: 'batches', stream: [round, epoch], batch_rows, shuffle });
    const end = Math.min(begin + batch_size, length);
    yield { order, begin, end, epoch: epoch + end / length };
  }
}

/** Batches with their rows: the next one is read while the engine works on this. waited: seconds that this one had to be waited for. */
export async function* batches<Row>(
  source: RowSource<Row>,
  plan: BatchPlan,
  now: () => number,
): AsyncGenerator<{ batch: Row[]; epoch: number; waited: number }> {
  const read = ({ order, begin, end }: BatchPlaces) => {
    const rows = source.rows(order.slice(begin, end));
    rows.catch(() => {}); // it is awaited below; a run that ends before that has an error of its own
    if (begin % ROWS_AHEAD < plan.batch_size) source.expect(order.slice(end, end + 2 * ROWS_AHEAD));
    return rows;
  };
  const places = batchPlaces(source.batch_rows, plan);
  let next = places.next();
  let rows = next.done ? undefined : read(next.value);
  while (!next.done && rows) {
    const { epoch } = next.value;
    const asked = now();
    const batch = await rows;
    const waited = now() - asked;
    next = places.next();
    rows = next.done ? undefined : read(next.value);
    yield { batch, epoch, waited };
  }
}

/** The rows of a source in its own order, a group at a time. */
export async function* groups<Row>(source: RowSource<Row>, size: number): AsyncGenerator<Row[]> {
  for (let begin = 0; begin < source.length; begin += size) {
    const places = Array.from({ length: Math.min(size, source.length - begin) }, (_, place) => begin + place);
    yield await source.rows(places);
  }
}
