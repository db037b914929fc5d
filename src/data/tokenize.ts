// Rows to the ids that are trained: what is too long is cut, what cannot be trained on is dropped, both counted.

import { clip } from './errors.js';
import { type FittedIds, fitCompatPair, fitSampledPair, type PairIds, type Sampled } from './fit_pair.js';
import { type Dropped, RowEncoder, type TokenizeSettings } from './row_encoder.js';
import type { Row } from './rows.js';
import type { Tokenizer } from './tokenizer/tokenizer.js';
import { cutPrompt, truncate } from './truncate.js';

export type { TokenizeSettings } from './row_encoder.js';

export interface TokenizedRow {
  id: string;
  prompt_ids: number[];
  response_ids: number[];
}

export interface TokenizeCounts {
  read: number;
  kept: number;
  prompts_cut: number;
  responses_cut: number;
  /** By reason: empty_prompt, empty_response, no_assistant_answer, no_room, refused_by_template, prompt_not_a_prefix. */
  dropped: Record<string, number>;
}

export class RowTokenizer {
  readonly counts: TokenizeCounts = { read: 0, kept: 0, prompts_cut: 0, responses_cut: 0, dropped: {} };
  /** For each reason of counts.dropped the first row that it met. */
  readonly firstDropped: Record<string, string> = {};
  readonly #encoder: RowEncoder;
  /** Stays at the start of a prompt that is cut. */
  readonly #bos: number | undefined;
  /** paper_compat: rows whose ỹ is not simply the sample and EOS, by id. */
  readonly #compatRows = new Map<string, { tail: readonly number[]; cut: boolean }>();

  /** Without a tokenizer only rows of ids can be read. */
  constructor(
    tokenizer: Tokenizer | undefined,
    private readonly settings: TokenizeSettings,
  ) {
    this.#encoder = new RowEncoder(tokenizer, settings);
    this.#bos = tokenizer?.bos_token_id;
  }

  /** What is trained of a row; undefined: it was dropped, and counted. */
  tokenize(row: Row): TokenizedRow | undefined {
    this.counts.read += 1;
    const parts = this.#encoder.encode(row);
    if ('refused' in parts) return this.#drop(row.id, parts);
    const { tail } = parts;
    const cut = truncate(parts.prompt_ids, parts.response_ids, this.settings, this.#bos);
    if (cut.response_ids.length === 0)
      return this.#drop(row.id, {
        refused: 'no_room',
        why: `its prompt takes all of max_length ${this.settings.max_length}`,
      });
    this.counts.kept += 1;
    if (cut.prompt_cut) this.counts.prompts_cut += 1;
    if (cut.response_cut) this.counts.responses_cut += 1;
    if (this.settings.paper_compat && (cut.response_cut || tail.length > 1))
      this.#compatRows.set(row.id, { tail, cut: cut.response_cut });
    return { id: row.id, prompt_ids: cut.prompt_ids, response_ids: cut.response_ids };
  }

  /** For generation: what stands before a row's (last) response. The text is whole, the ids are cut where there is too little room. */
  prompt(row: Row): { id: string; prompt: string; prompt_ids: number[] } | undefined {
    this.counts.read += 1;
    const found = this.#encoder.encodePrompt(row);
    if ('refused' in found) return this.#drop(row.id, found);
    const { prompt, prompt_ids: whole } = found;
    const { max_length, max_new_tokens } = this.settings;
    const fits = whole.length + (max_new_tokens ?? 0) <= max_length;
    const prompt_ids = fits ? whole : cutPrompt(whole, this.settings, this.#bos);
    this.counts.kept += 1;
    if (prompt_ids.length < whole.length) this.counts.prompts_cut += 1;
    return { id: row.id, prompt, prompt_ids };
  }

  /**
   * What is trained of a prompt, its demonstration and an answer sampled to it. ỹ stays exactly what was sampled, cut to what is left of
   * max_length. paper_compat decides on truncation here, by the longer answer, and ends ỹ as a demonstration ends; a prompt may then be
   * sampled from at up to max_length + max_new_tokens positions.
   */
  fitPair(row: PairIds & { id: string }, generated: Sampled): FittedIds {
    if (!this.settings.paper_compat) return fitSampledPair(row, generated, this.settings.max_length);
    const known = this.#compatRows.get(row.id) ?? { tail: [this.settings.eos_token_id], cut: false };
    return fitCompatPair(row, generated, { ...this.settings, ...known });
  }

  #drop(id: string, { refused, why }: Dropped): undefined {
    this.counts.dropped[refused] = (this.counts.dropped[refused] ?? 0) + 1;
    this.firstDropped[refused] ??= `row ${id}: ${clip(why)}`;
  }
}
