// What a policy wrote, as Arrow streams: ids exactly as sampled with the log-probability of each token, and text beside them for people.

import { tableToIPC } from 'apache-arrow';
import { GleanerError, messageOf } from '../common/errors.js';
import { BatchFile } from '../data/arrow/batch_file.js';
import { double, floats, ids, integer, oneOf, rowsOf, tableOf, text } from './columns.js';
import { writeWhole } from './folder.js';

export interface GenerationRow {
  id: string;
  prompt: string;
  response: string;
  /** The answer that the data has to this prompt. */
  demonstration: string;
  /** Place of the demonstration in the data. */
  index: number;
  prompt_ids: ArrayLike<number>;
  response_ids: ArrayLike<number>;
  demonstration_ids: ArrayLike<number>;
  /** log π of each token of the response at temperature 1. */
  token_logprobs: ArrayLike<number>;
  /** Their sum. */
  logprob: number;
  finish_reason: 'eos' | 'stop' | 'length';
}

export const generationColumns = {
  id: text((row: GenerationRow) => row.id),
  prompt: text((row: GenerationRow) => row.prompt),
  response: text((row: GenerationRow) => row.response),
  demonstration: text((row: GenerationRow) => row.demonstration),
  index: integer((row: GenerationRow) => row.index),
  prompt_ids: ids((row: GenerationRow) => row.prompt_ids),
  response_ids: ids((row: GenerationRow) => row.response_ids),
  demonstration_ids: ids((row: GenerationRow) => row.demonstration_ids),
  token_logprobs: floats((row: GenerationRow) => row.token_logprobs),
  logprob: double((row: GenerationRow) => row.logprob),
  finish_reason: oneOf(['eos', 'stop', 'length'], (row: GenerationRow) => row.finish_reason),
} as const;

export async function writeGenerations(path: string, rows: readonly GenerationRow[]): Promise<void> {
  await writeWhole(path, tableToIPC(tableOf(generationColumns, rows), 'stream'));
}

export interface Generations {
  /** The first `limit` rows. */
  rows: GenerationRow[];
  /** How many the file has. */
  num_rows: number;
}

/** Reads as many record batches as it needs. */
export async function readGenerations(
  path: string,
  { limit = Number.POSITIVE_INFINITY }: { limit?: number } = {},
): Promise<Generations> {
  try {
    await using file = await BatchFile.open(path);
    const rows: GenerationRow[] = [];
    for (const [batch, count] of file.batch_rows.entries()) {
      if (rows.length >= limit) break;
      const row = rowsOf(generationColumns, await file.read(batch), path);
      for (let place = 0; place < count && rows.length < limit; ++place) rows.push(row(place));
    }
    return { rows, num_rows: file.batch_rows.reduce((sum, count) => sum + count, 0) };
  } catch (cause) {
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      `${path}: not an Arrow file of generations: ${messageOf(cause).replace(`${path}: `, '')}`,
      'Name a generations.arrow or samples/step-N.arrow that gleaner wrote.',
      { cause },
    );
  }
}
