// How far an import is: what was counted up to the last record batch that stands. As a journal it lies beside the files until they are whole.

import { z } from 'zod';
import { clip } from '../errors.js';
import { LengthHistogram } from '../inspect/length_histogram.js';
import { type ImportOrigin, type ImportResult, importOrigin, importResult } from './metadata.js';
import { PROMPT_CUT, RESPONSE_CUT, type TokenizedTask } from './task.js';

const count = z.int().nonnegative();
const entries = z.array(z.tuple([count, count.positive()]));

export const journalShape = z.strictObject({
  origin: importOrigin,
  /** rows: record batches are being written; seal: all stand, the files get their metadata, footers and names. */
  phase: z.enum(['rows', 'seal']),
  counts: importResult.shape.counts,
  first: importResult.shape.first,
  highest_id: count,
  lengths: z.strictObject({ prompt: entries, response: entries, total: entries }),
  /** The last one is still appended to. */
  shards: z.array(z.strictObject({ rows: count, bytes: count })),
});
export type Journal = z.infer<typeof journalShape>;

export class ImportState {
  readonly counts: ImportResult['counts'];
  readonly first: Record<string, string>;
  readonly shards: Journal['shards'];
  readonly #lengths: { prompt: LengthHistogram; response: LengthHistogram; total: LengthHistogram };
  #highest: number;

  private constructor(
    private readonly origin: ImportOrigin,
    { counts, first, highest_id, lengths, shards }: Omit<Journal, 'origin' | 'phase'>,
  ) {
    this.counts = counts;
    this.first = first;
    this.shards = shards;
    this.#highest = highest_id;
    this.#lengths = {
      prompt: LengthHistogram.from(lengths.prompt),
      response: LengthHistogram.from(lengths.response),
      total: LengthHistogram.from(lengths.total),
    };
  }

  static begin(origin: ImportOrigin): ImportState {
    const counts = { read: 0, kept: 0, prompts_cut: 0, responses_cut: 0, dropped: {} };
    const lengths = { prompt: [], response: [], total: [] };
    return new ImportState(origin, { counts, first: {}, highest_id: 0, lengths, shards: [] });
  }

  static from({ origin, phase, ...rest }: Journal): ImportState {
    return new ImportState(origin, rest);
  }

  get tokens(): number {
    return this.#lengths.total.sum;
  }

  /** Counts row number `row` of a task; its ids, or undefined where it was dropped. */
  take(id: string, task: TokenizedTask, row: number): { prompt: Int32Array; response: Int32Array } | undefined {
    const { counts } = this;
    counts.read += 1;
    const prompt = task.prompt_ids.subarray(task.prompt_offsets[row], task.prompt_offsets[row + 1]);
    const response = task.response_ids.subarray(task.response_offsets[row], task.response_offsets[row + 1]);
    if (response.length === 0) {
      const found = task.dropped.find((dropped) => dropped.row === row);
      const reason = found?.reason ?? 'empty_response';
      counts.dropped[reason] = (counts.dropped[reason] ?? 0) + 1;
      this.first[reason] ??= clip(found?.why ?? `row ${id}`, 240);
      return undefined;
    }
    counts.kept += 1;
    const cut = task.cut[row] ?? 0;
    if (cut & PROMPT_CUT) {
      counts.prompts_cut += 1;
      this.first.prompts_cut ??= clip(`row ${id}`, 240);
    }
    if (cut & RESPONSE_CUT) {
      counts.responses_cut += 1;
      this.first.responses_cut ??= clip(`row ${id}`, 240);
    }
    this.#lengths.prompt.add(prompt.length);
    this.#lengths.response.add(response.length);
    this.#lengths.total.add(prompt.length + response.length);
    for (const ids of [prompt, response]) for (const token of ids) if (token > this.#highest) this.#highest = token;
    return { prompt, response };
  }

  journal(phase: Journal['phase']): Journal {
    const { prompt, response, total } = this.#lengths;
    return {
      origin: this.origin,
      phase,
      counts: this.counts,
      first: this.first,
      highest_id: this.#highest,
      lengths: { prompt: prompt.entries(), response: response.entries(), total: total.entries() },
      shards: this.shards,
    };
  }

  result(): ImportResult {
    const { prompt, response, total } = this.#lengths;
    return {
      counts: this.counts,
      first: this.first,
      tokens: { prompt: prompt.sum, response: response.sum, total: total.sum, highest_id: this.#highest },
      lengths: { prompt: prompt.summary(), response: response.summary(), total: total.summary() },
    };
  }
}
