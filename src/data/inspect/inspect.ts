// What training would see of files: a few rows token by token, how long rows are, where EOS stands and by which rule, what is cut and dropped,
// what stands twice and what of the evaluation data stands in the training data. Holds hashes of the rows, never the rows.

import { throwIfAborted } from '../aborted.js';
import { splitChat } from '../chat/chat.js';
import { chatTemplate } from '../chat/template.js';
import { clip } from '../errors.js';
import { countRows } from '../import/count_rows.js';
import type { ImportOrigin, ImportResult } from '../import/metadata.js';
import { sourceFiles } from '../import/origin.js';
import { type ReadOptions, readRows, recognise } from '../readers.js';
import { demonstrationOf, type Row } from '../rows.js';
import { importOf } from '../stream/token_file.js';
import { RowTokenizer, type TokenizeCounts, type TokenizedRow, type TokenizeSettings } from '../tokenize.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { type HistogramSummary, LengthHistogram } from './length_histogram.js';
import { noRepeats, type RepeatCounts, RowIndex, rowHashes } from './repeats.js';

const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/** Where the EOS of a row comes from, or why there is none. */
export type EosRule = 'appended' | 'of_template' | 'in_text' | 'as_given' | 'none_cut' | 'none_as_given';

export interface InspectOptions {
  sources: readonly string[];
  /** Compared with the sources. */
  eval: readonly string[];
  format: ReadOptions['format'];
  limit: number | null;
  /** Without one only rows of ids can be looked at. */
  tokenizer: Tokenizer | undefined;
  template: TokenizeSettings['template'];
  bos: TokenizeSettings['bos'];
  eos_token_id: number;
  vocab: number;
  /** null: nothing is cut. */
  max_length: number | null;
  max_prompt_length: number | null;
  /** Rows that are shown. */
  rows: number;
  signal?: AbortSignal | undefined;
  /** `of`: rows in all; undefined where that cannot be told. */
  onProgress?: ((stage: 'evaluation data' | 'inspecting', rows: number, of: number | undefined) => void) | undefined;
}

export interface ShownToken {
  id: number;
  /** As the vocabulary spells it. */
  token: string;
  special: boolean;
}

export interface ShownRow {
  id: string;
  kind: Row['kind'];
  /** Undefined without a tokenizer. */
  prompt: string | undefined;
  response: string | undefined;
  prompt_tokens: ShownToken[];
  /** What is trained. */
  response_tokens: ShownToken[];
  eos: EosRule;
  prompt_cut: boolean;
  response_cut: boolean;
}

export interface Inspection {
  files: { path: string; detail: string }[];
  /** What the first file says of its import; undefined: it is from elsewhere. */
  imported: (ImportOrigin & ImportResult) | undefined;
  /** Rows of each kind. */
  kinds: Record<string, number>;
  counts: TokenizeCounts;
  first: Record<string, string>;
  /** Rows by rule. */
  eos: Partial<Record<EosRule, number>>;
  tokens: { prompt: number; response: number; total: number };
  lengths: { prompt: HistogramSummary; response: HistogramSummary; total: HistogramSummary };
  duplicates: RepeatCounts;
  /** Rows of the sources that stand in the evaluation data; null: there is none. */
  leaks: (RepeatCounts & { eval_rows: number }) | null;
  rows: ShownRow[];
}

export async function inspectData(options: InspectOptions): Promise<Inspection> {
  const held = options.eval.length > 0 ? await indexOf(options) : undefined;
  const reader = new Inspector(options);
  const own = new RowIndex();
  const duplicates = noRepeats();
  const leaks = noRepeats();
  const rows: ShownRow[] = [];
  let number = 0;
  const total = options.onProgress && (await countRows(await sourceFiles(options.sources, options.format)));
  const of = total === undefined ? undefined : Math.min(total, options.limit ?? total);
  for await (const row of readRows(options.sources, { format: options.format, limit: options.limit })) {
    number += 1;
    const found = reader.look(row);
    if (number % 256 === 0) {
      options.onProgress?.('inspecting', number, of);
      await new Promise(setImmediate); // so that a signal is seen
      throwIfAborted(options.signal);
    }
    if (found === undefined) continue;
    const hashes = reader.hashes(found);
    own.count(hashes, number, row.id, duplicates);
    own.add(hashes, number);
    held?.index.count(hashes, number, row.id, leaks);
    if (rows.length < options.rows && found.ids) rows.push(reader.show(found, found.ids));
  }
  const files = [];
  for (const path of [...options.sources, ...options.eval])
    files.push({ path, detail: (await recognise(path, options.format)).detail });
  return {
    files,
    imported: await importOf(options.sources[0] ?? ''),
    ...reader.result(),
    duplicates,
    leaks: held ? { eval_rows: held.rows, ...leaks } : null,
    rows,
  };
}

async function indexOf(options: InspectOptions): Promise<{ index: RowIndex; rows: number }> {
  const reader = new Inspector(options);
  const index = new RowIndex();
  let rows = 0;
  for await (const row of readRows(options.eval, { format: options.format, limit: null })) {
    rows += 1;
    if (rows % 256 === 0) options.onProgress?.('evaluation data', rows, undefined);
    throwIfAborted(options.signal);
    const found = reader.look(row);
    if (found) index.add(reader.hashes(found), rows);
  }
  return { index, rows };
}

/** A row before anything is cut, and as it is trained (undefined: there is no room for it). */
interface Looked {
  row: Row;
  whole: TokenizedRow;
  ids: TokenizedRow | undefined;
  prompt_cut: boolean;
  response_cut: boolean;
}

class Inspector {
  readonly #whole: RowTokenizer;
  readonly #limited: RowTokenizer;
  readonly #kinds: Record<string, number> = {};
  readonly #first: Record<string, string> = {};
  readonly #noResponse: Record<string, number> = {};
  readonly #eos: Partial<Record<EosRule, number>> = {};
  readonly #lengths = { prompt: new LengthHistogram(), response: new LengthHistogram(), total: new LengthHistogram() };
  #templateEnds: boolean | undefined;

  constructor(private readonly options: InspectOptions) {
    const { tokenizer, template, bos, eos_token_id, vocab, max_length, max_prompt_length } = options;
    const settings = { template, bos, eos_token_id, vocab, max_new_tokens: null, paper_compat: false };
    this.#whole = new RowTokenizer(tokenizer, { ...settings, max_length: NO_LIMIT, max_prompt_length: NO_LIMIT });
    this.#limited = new RowTokenizer(tokenizer, {
      ...settings,
      max_length: max_length ?? NO_LIMIT,
      max_prompt_length: max_prompt_length ?? NO_LIMIT,
    });
  }

  look(row: Row): Looked | undefined {
    this.#kinds[row.kind] = (this.#kinds[row.kind] ?? 0) + 1;
    if (row.kind === 'prompt') {
      this.#noResponse.no_response = (this.#noResponse.no_response ?? 0) + 1;
      this.#first.no_response ??= `row ${row.id}: a prompt without a response`;
      return undefined;
    }
    const whole = this.#whole.tokenize(row);
    if (whole === undefined) return undefined;
    const { prompts_cut, responses_cut } = this.#limited.counts;
    const ids = this.#limited.tokenize({ kind: 'ids', ...whole });
    const prompt_cut = this.#limited.counts.prompts_cut > prompts_cut;
    const response_cut = this.#limited.counts.responses_cut > responses_cut;
    const looked = { row, whole, ids, prompt_cut, response_cut };
    if (prompt_cut) this.#first.prompts_cut ??= clip(`row ${row.id}: a prompt of ${whole.prompt_ids.length} tokens`);
    if (response_cut)
      this.#first.responses_cut ??= clip(`row ${row.id}: a response of ${whole.response_ids.length} tokens`);
    if (ids) {
      const rule = this.#rule(looked, ids);
      this.#eos[rule] = (this.#eos[rule] ?? 0) + 1;
      this.#lengths.prompt.add(ids.prompt_ids.length);
      this.#lengths.response.add(ids.response_ids.length);
      this.#lengths.total.add(ids.prompt_ids.length + ids.response_ids.length);
    }
    return looked;
  }

  hashes({ row, whole }: Looked) {
    return rowHashes(whole.prompt_ids, whole.response_ids, row.kind !== 'text', this.#text(row, whole));
  }

  show(looked: Looked, { id, prompt_ids, response_ids }: TokenizedRow): ShownRow {
    const { tokenizer } = this.options;
    const token = (one: number): ShownToken => ({
      id: one,
      token: tokenizer?.token(one) ?? String(one),
      special: one === this.options.eos_token_id || (tokenizer?.isAdded(one) ?? false),
    });
    const all = tokenizer?.decode([...prompt_ids, ...response_ids], { skip_special_tokens: false });
    const prompt = tokenizer?.decode(prompt_ids, { skip_special_tokens: false });
    const joins = all !== undefined && prompt !== undefined && all.startsWith(prompt);
    return {
      id,
      kind: looked.row.kind,
      prompt,
      response: joins ? all.slice(prompt.length) : tokenizer?.decode(response_ids, { skip_special_tokens: false }),
      prompt_tokens: prompt_ids.map(token),
      response_tokens: response_ids.map(token),
      eos: this.#rule(looked, { id, prompt_ids, response_ids }),
      prompt_cut: looked.prompt_cut,
      response_cut: looked.response_cut,
    };
  }

  result() {
    const { prompt, response, total } = this.#lengths;
    const [whole, limited] = [this.#whole.counts, this.#limited.counts];
    const dropped = { ...whole.dropped, ...limited.dropped, ...this.#noResponse };
    const unread = this.#noResponse.no_response ?? 0;
    return {
      kinds: this.#kinds,
      counts: { ...limited, read: whole.read + unread, dropped },
      first: { ...this.#whole.firstDropped, ...this.#limited.firstDropped, ...this.#first },
      eos: this.#eos,
      tokens: { prompt: prompt.sum, response: response.sum, total: total.sum },
      lengths: { prompt: prompt.summary(), response: response.summary(), total: total.summary() },
    };
  }

  #rule({ row, response_cut }: Looked, { response_ids }: TokenizedRow): EosRule {
    if (response_cut) return 'none_cut';
    if (row.kind === 'ids') return response_ids.at(-1) === this.options.eos_token_id ? 'as_given' : 'none_as_given';
    const shown = demonstrationOf(row);
    if (shown.kind === 'messages' && this.#endsByTemplate()) return 'of_template';
    const eos = this.options.tokenizer?.token(this.options.eos_token_id);
    return eos !== undefined && this.#answer(shown).endsWith(eos) ? 'in_text' : 'appended';
  }

  #answer(row: Row): string {
    if (row.kind === 'prompt_response') return row.response;
    if (row.kind === 'text') return row.text;
    return row.kind === 'messages' ? (splitChat(row.messages, false).answer?.content ?? '') : '';
  }

  /** Whether the chat template writes EOS behind an answer itself. */
  #endsByTemplate(): boolean {
    if (this.#templateEnds !== undefined) return this.#templateEnds;
    const { tokenizer, template, eos_token_id } = this.options;
    this.#templateEnds = false;
    const eos = tokenizer?.token(eos_token_id);
    const chat = tokenizer && chatTemplate(template, tokenizer, eos ?? '');
    if (chat === undefined || eos === undefined) return false;
    const messages = [
      { role: 'user', content: 'Q' },
      { role: 'assistant', content: 'A' },
    ];
    try {
      this.#templateEnds = chat.render(messages, { add_generation_prompt: false }).trimEnd().endsWith(eos);
    } catch {
      // It refuses even this chat: every row was dropped by it.
    }
    return this.#templateEnds;
  }

  #text(row: Row, { prompt_ids, response_ids }: TokenizedRow): string | undefined {
    switch (row.kind) {
      case 'ids':
        return this.options.tokenizer?.decode([...prompt_ids, ...response_ids]);
      case 'prompt_response':
        return `${row.prompt} ${row.response}`;
      case 'messages':
        return row.messages.map(({ content }) => content).join(' ');
      case 'preference':
        return this.#text(demonstrationOf(row), { id: row.id, prompt_ids, response_ids });
      case 'text':
        return row.text;
      case 'prompt':
        return undefined;
      default:
        return row satisfies never;
    }
  }
}
