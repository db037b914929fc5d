// Rows of any kind to Arrow files of token ids. What is written stands: broken off at any moment and run again, an import goes on behind its
// last record batch, and ends in the same bytes.

import { rename, rm, stat } from 'node:fs/promises';
import { GleanerError } from '../../common/errors.js';
import { onDisk } from '../../common/on_disk.js';
import { syncFolder } from '../../common/whole_file.js';
import { throwIfAborted } from '../aborted.js';
import { dataError } from '../errors.js';
import { type ReadOptions, readRows } from '../readers.js';
import type { Row } from '../rows.js';
import { BATCH_ROWS } from '../stream/row_source.js';
import { RowTokenizer, type TokenizeSettings } from '../tokenize.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { countRows } from './count_rows.js';
import { type Found, ImportFolder } from './folder.js';
import { type ImportOrigin, type ImportSummary, toMetadata } from './metadata.js';
import { differences, hashSources, sourceFiles, templateOrigin, tokenizerOrigin } from './origin.js';
import { TokenizePool } from './pool.js';
import { ShardFile } from './shard.js';
import { ImportState } from './state.js';

const NO_LIMIT = Number.MAX_SAFE_INTEGER;
const SHARD_BYTES = 2 ** 28;
const JOURNAL_EVERY_MS = 2000;

export interface ImportOptions {
  sources: readonly string[];
  /** A folder with tokenizer.json. */
  tokenizer: string;
  out: string;
  format: ReadOptions['format'];
  template: TokenizeSettings['template'];
  bos: TokenizeSettings['bos'];
  /** The id that ends a demonstration, asked for where the tokenizer names none. */
  otherEos?: (() => Promise<number | undefined>) | undefined;
  /** null: rows are stored whole. */
  max_length: number | null;
  max_prompt_length: number | null;
  limit: number | null;
  workers: number;
  /** Replaces the import that the folder holds. */
  overwrite: boolean;
  gleaner_version: string;
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: ImportProgress) => void) | undefined;
  /** For tests: sizes that are reached soon. */
  shard_bytes?: number;
  journal_every_ms?: number;
}

export type ImportProgress =
  | { stage: 'recognised'; files: { path: string; detail: string }[] }
  | { stage: 'hashing'; bytes: number; total_bytes: number }
  | { stage: 'resumed'; rows: number }
  /** total_rows: undefined where that cannot be told. fresh_…: since this process went on with it. */
  | {
      stage: 'importing';
      rows: number;
      total_rows: number | undefined;
      tokens: number;
      fresh_rows: number;
      fresh_tokens: number;
    };

export interface ImportOutcome {
  /** up_to_date: nothing was to be done. */
  status: 'imported' | 'resumed' | 'up_to_date';
  summary: ImportSummary;
}

export async function importData(options: ImportOptions): Promise<ImportOutcome> {
  const { signal, overwrite } = options;
  const tokenizer = await Tokenizer.load(options.tokenizer);
  const origin = await originOf(options, tokenizer);
  const folder = new ImportFolder(options.out);
  if (overwrite) await folder.clear();
  const found = await findUsable(folder, origin);
  if (found.as === 'finished') {
    const { counts, first, tokens, lengths, shards, ...before } = found.summary;
    folder.checkSame(differences(before, origin));
    return { status: 'up_to_date', summary: found.summary };
  }
  const settings = settingsOf(options, tokenizer, origin);
  new RowTokenizer(tokenizer, settings); // refuses settings that do not fit the tokenizer
  await folder.make();
  const state = found.as === 'begun' ? ImportState.from(found.journal) : ImportState.begin(origin);
  if (found.as === 'begun') options.onProgress?.({ stage: 'resumed', rows: state.counts.read });
  if (found.as === 'new' || found.journal.phase === 'rows') {
    await appendRows(options, folder, state, origin, settings);
    throwIfAborted(signal);
  }
  return { status: found.as === 'begun' ? 'resumed' : 'imported', summary: await seal(folder, state, origin) };
}

/** Where no row stands yet, an import with other things simply begins; else the difference is an error. */
async function findUsable(folder: ImportFolder, origin: ImportOrigin): Promise<Found> {
  const found = await folder.find();
  if (found.as !== 'begun') return found;
  const others = differences(found.journal.origin, origin);
  if (others.length > 0 && found.journal.counts.read === 0) {
    await folder.clear();
    return { as: 'new' };
  }
  folder.checkSame(others);
  return found;
}

async function originOf(options: ImportOptions, tokenizer: Tokenizer): Promise<ImportOrigin> {
  const eos_token_id = tokenizer.eos_token_id ?? (await options.otherEos?.());
  if (eos_token_id === undefined)
    throw dataError(
      `${tokenizer.path}: the tokenizer names no EOS token`,
      'Add "eos_token" to tokenizer_config.json or "eos_token_id" to a config.json beside it: an answer has to end somehow.',
    );
  const { format, template, bos, max_length, max_prompt_length, limit, shard_bytes = SHARD_BYTES } = options;
  const files = await sourceFiles(options.sources, format);
  options.onProgress?.({ stage: 'recognised', files: files.map(({ path, detail }) => ({ path, detail })) });
  const total_bytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let read = 0;
  const onBytes = (bytes: number) => {
    read += bytes;
    options.onProgress?.({ stage: 'hashing', bytes: read, total_bytes });
  };
  return {
    gleaner_version: options.gleaner_version,
    sources: await hashSources(files, onBytes, options.signal),
    tokenizer: await tokenizerOrigin(tokenizer),
    template: templateOrigin(template, tokenizer),
    settings: { format, template, bos, eos_token_id, max_length, max_prompt_length, limit, shard_bytes },
  };
}

function settingsOf(options: ImportOptions, tokenizer: Tokenizer, { settings }: ImportOrigin): TokenizeSettings {
  return {
    template: options.template,
    bos: options.bos,
    eos_token_id: settings.eos_token_id,
    vocab: tokenizer.vocab_size,
    max_length: options.max_length ?? NO_LIMIT,
    max_prompt_length: options.max_prompt_length ?? NO_LIMIT,
    max_new_tokens: null,
    paper_compat: false,
  };
}

/** From the row behind the last record batch that stands to the end of the sources. */
async function appendRows(
  options: ImportOptions,
  folder: ImportFolder,
  state: ImportState,
  origin: ImportOrigin,
  settings: TokenizeSettings,
): Promise<void> {
  const writer = new Appender(options, folder, state, origin);
  const before = { rows: state.counts.read, tokens: state.tokens };
  await using pool = new TokenizePool({ tokenizer: options.tokenizer, settings }, options.workers);
  await using _ = writer;
  await writer.open();
  const files = options.onProgress === undefined ? [] : await sourceFiles(options.sources, options.format);
  const total = await countRows(files);
  const total_rows = total === undefined ? undefined : Math.min(total, options.limit ?? total);
  const rows = readRows(options.sources, { format: options.format, limit: options.limit });
  for await (const { rows: task, tokenized } of pool.tokenize(skip(rows, state.counts.read), options.signal)) {
    for (const [number, { id }] of task.entries()) {
      const ids = state.take(id, tokenized, number);
      if (ids) await writer.add(id, ids.prompt, ids.response);
    }
    options.onProgress?.({
      stage: 'importing',
      rows: state.counts.read,
      total_rows,
      tokens: state.tokens,
      fresh_rows: state.counts.read - before.rows,
      fresh_tokens: state.tokens - before.tokens,
    });
  }
  await writer.finish();
}

async function* skip(rows: AsyncGenerator<Row>, count: number): AsyncGenerator<Row> {
  let left = count;
  for await (const row of rows) {
    if (left > 0) left -= 1;
    else yield row;
  }
}

/** Gathers rows to record batches, and record batches to files. */
class Appender implements AsyncDisposable {
  #shard: ShardFile | undefined;
  #rows = { ids: [] as string[], prompt_ids: [] as Int32Array[], response_ids: [] as Int32Array[] };
  #journalled = 0;

  constructor(
    private readonly options: ImportOptions,
    private readonly folder: ImportFolder,
    private readonly state: ImportState,
    private readonly origin: ImportOrigin,
  ) {}

  async open(): Promise<void> {
    const last = this.state.shards.at(-1);
    if (last === undefined) {
      await this.folder.writeJournal(this.state.journal('rows')); // says whose the files are
      await this.#next();
      return;
    }
    const part = this.folder.part(this.state.shards.length - 1);
    this.#shard = await ShardFile.reopen(part, last.bytes, last.rows);
    if (this.#shard === undefined)
      throw new GleanerError(
        'ERR_GLEANER_DATA',
        `${part}: what the import wrote is not there any more`,
        'Pass --overwrite to start anew.',
      );
    this.#journalled = performance.now();
  }

  async add(id: string, prompt: Int32Array, response: Int32Array): Promise<void> {
    this.#rows.ids.push(id);
    this.#rows.prompt_ids.push(prompt);
    this.#rows.response_ids.push(response);
    if (this.#rows.ids.length < BATCH_ROWS) return;
    await this.#append();
    const { journal_every_ms = JOURNAL_EVERY_MS } = this.options;
    if (performance.now() - this.#journalled >= journal_every_ms) await this.#journal('rows');
  }

  /** The last rows, few as they may be. */
  async finish(): Promise<void> {
    if (this.#rows.ids.length > 0) await this.#append();
    if (this.state.counts.kept === 0) {
      const reasons = Object.entries(this.state.counts.dropped).map(([reason, rows]) => `${rows} (${reason})`);
      await this.#close();
      await this.folder.clear();
      throw dataError(
        `${this.options.sources.join(', ')}: no row to import among ${this.state.counts.read}`,
        reasons.length > 0 ? `Dropped: ${reasons.join(', ')}.` : 'The files hold no row.',
      );
    }
    await this.#journal('seal');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  async #append(): Promise<void> {
    const limit = this.options.shard_bytes ?? SHARD_BYTES;
    if (this.#shard !== undefined && this.#shard.bytes >= limit && this.#shard.rows > 0) await this.#next();
    const [shard, noted] = [this.#shard, this.state.shards.at(-1)];
    if (shard === undefined || noted === undefined) return;
    await shard.append(this.#rows);
    noted.bytes = shard.bytes;
    noted.rows = shard.rows;
    this.#rows = { ids: [], prompt_ids: [], response_ids: [] };
  }

  async #next(): Promise<void> {
    await this.#close();
    const part = this.folder.part(this.state.shards.length);
    this.#shard = await ShardFile.create(part, toMetadata(this.origin, undefined));
    this.state.shards.push({ rows: 0, bytes: this.#shard.bytes });
  }

  async #journal(phase: 'rows' | 'seal'): Promise<void> {
    await this.#shard?.sync();
    await this.folder.writeJournal(this.state.journal(phase));
    this.#journalled = performance.now();
  }

  async #close(): Promise<void> {
    await this.#shard?.sync();
    await this.#shard?.close();
    this.#shard = undefined;
  }
}

/** Gives the files their metadata, footers and names. Broken off, it is done again from the start. */
async function seal(folder: ImportFolder, state: ImportState, origin: ImportOrigin): Promise<ImportSummary> {
  const { shards } = state;
  const result = state.result();
  const summary: ImportSummary = { ...origin, ...result, shards: [] };
  for (const [number, { rows, bytes }] of shards.entries()) {
    const [part, name] = [folder.part(number), folder.shard(number, shards.length)];
    const there = (await stat(part).catch(() => undefined)) !== undefined;
    const shard = await ShardFile.reopen(there ? part : name, bytes, rows);
    if (shard === undefined)
      throw new GleanerError(
        'ERR_GLEANER_DATA',
        `${part}: what the import wrote is not there any more`,
        'Pass --overwrite to start anew.',
      );
    const size = await shard.seal(toMetadata(origin, result));
    await shard.close();
    if (there) await onDisk(name, () => rename(part, name));
    summary.shards.push({ file: folder.shardName(number, shards.length), rows, bytes: size });
  }
  await onDisk(folder.path, () => syncFolder(folder.path));
  await folder.writeSummary(summary);
  await onDisk(folder.journal, () => rm(folder.journal, { force: true }));
  return summary;
}
