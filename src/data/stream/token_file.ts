// Arrow files of token ids as what training reads: views into the files, and the lengths of all rows known from one pass over the offsets.
// Rows that are too long are cut as tokenize.ts cuts rows of ids, so a file trains exactly as its source would.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { RecordBatch } from 'apache-arrow';
import { BatchFile } from '../arrow/batch_file.js';
import { dataError, fileError } from '../errors.js';
import { fromMetadata, type ImportOrigin, type ImportResult } from '../import/metadata.js';
import type { TokenizeCounts } from '../tokenize.js';
import { answerRoom, cutPrompt, type Lengths } from '../truncate.js';
import { type IntLists, intLists, isIntList, stringColumn } from './arrow_columns.js';
import { ArrowRows, type BatchPlace } from './arrow_rows.js';
import type { IdRow, TokenSource } from './row_source.js';

export interface TokenSourceOptions extends Partial<Lengths> {
  /** Stays at the start of a prompt that is cut. */
  bos_token_id?: number | undefined;
  /** Of the model: an id that is not below it is an error. */
  vocab?: number | undefined;
  /** Rows read at most; null: all. */
  limit?: number | null | undefined;
}

/** The name that `data import` gives to a shard. */
const shardName = /^data-(\d{5})-of-(\d{5})\.arrow$/;

/** Whether openTokenSource takes it: an Arrow file with prompt_ids and response_ids as list<int32>, or the folder of an import. */
export async function isTokenFile(path: string): Promise<boolean> {
  try {
    const [first] = await shardsOf(path);
    if (first === undefined) return false;
    await using file = await BatchFile.open(first);
    return ['prompt_ids', 'response_ids'].every((name) =>
      isIntList(file.schema.fields.find((field) => field.name === name)?.type),
    );
  } catch {
    return false;
  }
}

/** What a file, or the first of a folder, says of its import; undefined: it is from elsewhere. */
export async function importOf(path: string): Promise<(ImportOrigin & ImportResult) | undefined> {
  if (!(await isTokenFile(path))) return undefined;
  const [first] = await shardsOf(path);
  if (first === undefined) return undefined;
  await using file = await BatchFile.open(first);
  return fromMetadata(file.metadata);
}

export async function openTokenSource(paths: readonly string[], options: TokenSourceOptions = {}): Promise<TokenFiles> {
  const files = (await Promise.all(paths.map(shardsOf))).flat();
  return TokenFiles.open(files, options);
}

/** A file as it is; the folder of an import as its shards, all of which have to be there. */
async function shardsOf(path: string): Promise<string[]> {
  const info = await stat(path).catch((error: unknown) => {
    throw fileError(path, error);
  });
  if (!info.isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => shardName.test(name)).sort();
  const expected = Number(shardName.exec(names[0] ?? '')?.[2] ?? 0);
  if (names.length === 0)
    throw dataError(`${path}: a folder without data-*.arrow`, 'Name a folder that gleaner data import has written.');
  if (names.length !== expected)
    throw dataError(
      `${path}: ${names.length} of ${expected} files data-*-of-${names[0]?.slice(14, 19)}.arrow are there`,
    );
  return names.map((name) => join(path, name));
}

export class TokenFiles implements TokenSource, AsyncDisposable {
  readonly length: number;
  readonly batch_rows: readonly number[];
  readonly prompt_lengths: Int32Array;
  readonly response_lengths: Int32Array;
  /** What was cut and dropped here; what an import cut and dropped before is in `imported`. */
  readonly counts: TokenizeCounts;

  private constructor(
    private readonly files: ArrowRows<IdRow>,
    /** Row of the files at each place; undefined: all rows are kept. */
    private readonly kept: Uint32Array | undefined,
    pass: Pass,
    readonly fingerprint: string,
    /** For each reason of counts.dropped the first row that it met. */
    readonly firstDropped: Readonly<Record<string, string>>,
    /** What the files say of their import; undefined: they are from elsewhere. */
    readonly imported: (ImportOrigin & ImportResult) | undefined,
  ) {
    this.length = pass.prompt_lengths.length;
    this.batch_rows = pass.batch_rows;
    this.prompt_lengths = pass.prompt_lengths;
    this.response_lengths = pass.response_lengths;
    this.counts = pass.counts;
  }

  static async open(paths: readonly string[], options: TokenSourceOptions): Promise<TokenFiles> {
    const limits = lengthsOf(options);
    const files = await ArrowRows.open(paths, (batch, place) => decodeRows(batch, place, limits, options));
    try {
      const { fingerprint, imported } = await originOf(paths);
      const highest = imported?.tokens.highest_id ?? 0;
      if (options.vocab !== undefined && highest >= options.vocab)
        throw foreignIds(paths[0] ?? '', `its highest token id is ${highest}`, options.vocab);
      const pass = await passOver(files, limits, options.limit ?? Number.POSITIVE_INFINITY);
      const kept = pass.kept.length === files.length ? undefined : pass.kept;
      const firstDropped: Record<string, string> = {};
      for (const [reason, row] of Object.entries(pass.first)) {
        const [found] = await files.rows([row]);
        firstDropped[reason] = `row ${found?.id}: ${whyDropped(reason, limits)}`;
      }
      return new TokenFiles(files, kept, pass, fingerprint, firstDropped, imported);
    } catch (error) {
      await files.close();
      throw error;
    }
  }

  get waited_seconds(): number {
    return this.files.waited_seconds;
  }

  async rows(places: ArrayLike<number>): Promise<IdRow[]> {
    return this.files.rows(this.#inFiles(places));
  }

  expect(places: ArrayLike<number>): void {
    this.files.expect(this.#inFiles(places));
  }

  async close(): Promise<void> {
    await this.files.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #inFiles(places: ArrayLike<number>): ArrayLike<number> {
    const { kept } = this;
    if (kept === undefined) return places;
    return Array.from(places, (place) => {
      const row = kept[place];
      if (row === undefined) throw new RangeError(`row ${place} of ${this.length}`);
      return row;
    });
  }
}

const NO_LIMIT = Number.MAX_SAFE_INTEGER;

function lengthsOf(options: TokenSourceOptions): Lengths {
  const { max_length = NO_LIMIT, max_prompt_length = NO_LIMIT, max_new_tokens = null, paper_compat = false } = options;
  return { max_length, max_prompt_length, max_new_tokens, paper_compat };
}

/** truncate() in lengths alone. */
function cutLengths(prompt: number, response: number, lengths: Lengths): { prompt: number; response: number } {
  const { max_length, max_prompt_length, max_new_tokens, paper_compat } = lengths;
  const longest = Math.max(response, paper_compat ? 0 : (max_new_tokens ?? 0));
  const left = prompt + longest > max_length ? Math.min(prompt, max_prompt_length) : prompt;
  return { prompt: left, response: Math.min(response, answerRoom(left, response, lengths)) };
}

function decodeRows(batch: RecordBatch, place: BatchPlace, limits: Lengths, options: TokenSourceOptions) {
  const { path, first_row } = place;
  const prompts = intLists(batch, 'prompt_ids', path);
  const responses = intLists(batch, 'response_ids', path);
  const named = batch.schema.fields.some(({ name }) => name === 'id');
  const name = basename(path);
  const id = named ? stringColumn(batch, 'id', path) : (row: number) => `${name}:${first_row + row + 1}`;
  for (const lists of [prompts, responses]) checkIds(lists, options.vocab, batch.numRows, id);
  return (row: number): IdRow => {
    const prompt = prompts.at(row);
    const response = responses.at(row);
    const left = cutLengths(prompt.length, response.length, limits);
    return {
      id: id(row),
      prompt_ids: left.prompt < prompt.length ? cutPrompt(Array.from(prompt), limits, options.bos_token_id) : prompt,
      response_ids: response.subarray(0, left.response),
    };
  };
}

function checkIds({ values, offsets }: IntLists, vocab = 2 ** 31, rows = 0, id: (row: number) => string): void {
  const begin = offsets[0] ?? 0;
  const end = offsets[rows] ?? 0;
  for (let place = begin; place < end; ++place) {
    const token = values[place] ?? 0;
    if (token >= 0 && token < vocab) continue;
    const row = offsets.findIndex((offset, at) => offset <= place && place < (offsets[at + 1] ?? 0));
    if (token < 0) throw dataError(`row ${id(row)}: ${token} is no token id`);
    throw foreignIds(`row ${id(row)}`, `the token id ${token}`, vocab);
  }
}

function foreignIds(where: string, what: string, vocab: number) {
  return dataError(
    `${where}: ${what}, which is not below the model's vocabulary of ${vocab}`,
    'The file was made with the tokenizer of another model.',
  );
}

interface Pass {
  kept: Uint32Array;
  batch_rows: number[];
  prompt_lengths: Int32Array;
  response_lengths: Int32Array;
  counts: TokenizeCounts;
  /** The first dropped row of each reason. */
  first: Record<string, number>;
}

/** Looks at the lengths of every row, and decides what is kept of it. */
async function passOver(files: ArrowRows<IdRow>, limits: Lengths, limit: number): Promise<Pass> {
  const most = Math.min(files.length, limit);
  const kept = new Uint32Array(most);
  const prompts = new Int32Array(most);
  const responses = new Int32Array(most);
  const counts: TokenizeCounts = { read: 0, kept: 0, prompts_cut: 0, responses_cut: 0, dropped: {} };
  const first: Record<string, number> = {};
  const batch_rows: number[] = [];
  for (let batch = 0; counts.read < most; ++batch) {
    const { batch: content, place } = await files.batch(batch);
    const prompt = intLists(content, 'prompt_ids', place.path).offsets;
    const response = intLists(content, 'response_ids', place.path).offsets;
    const before = counts.kept;
    for (let row = 0; row < content.numRows && counts.read < most; ++row) {
      const number = counts.read++;
      const long = {
        prompt: (prompt[row + 1] ?? 0) - (prompt[row] ?? 0),
        response: (response[row + 1] ?? 0) - (response[row] ?? 0),
      };
      const left = cutLengths(long.prompt, long.response, limits);
      const reason = long.response === 0 ? 'empty_response' : long.prompt === 0 ? 'empty_prompt' : 'no_room';
      if (long.response === 0 || long.prompt === 0 || left.response === 0) {
        counts.dropped[reason] = (counts.dropped[reason] ?? 0) + 1;
        first[reason] ??= number;
        continue;
      }
      if (left.prompt < long.prompt) counts.prompts_cut += 1;
      if (left.response < long.response) counts.responses_cut += 1;
      kept[counts.kept] = number;
      prompts[counts.kept] = left.prompt;
      responses[counts.kept] = left.response;
      counts.kept += 1;
    }
    batch_rows.push(counts.kept - before);
  }
  return {
    kept: kept.slice(0, counts.kept),
    batch_rows,
    prompt_lengths: prompts.slice(0, counts.kept),
    response_lengths: responses.slice(0, counts.kept),
    counts,
    first,
  };
}

function whyDropped(reason: string, { max_length }: Lengths): string {
  if (reason === 'empty_response') return 'no token in its response';
  if (reason === 'empty_prompt') return 'no token in its prompt';
  return `its prompt takes all of max_length ${max_length}`;
}

/** Over what the files were imported from and which of its files they are; of files from elsewhere, over what is in them. */
async function originOf(paths: readonly string[]) {
  const hash = createHash('sha256');
  const imports: (ImportOrigin & ImportResult)[] = [];
  for (const path of paths) {
    await using file = await BatchFile.open(path);
    if (!file.complete)
      throw dataError(`${path}: the file ends too soon`, 'Write it anew: an import goes on where it was.');
    const imported = fromMetadata(file.metadata);
    if (imported === undefined) hash.update(`${await sha256OfFile(path)}\n`);
    else {
      imports.push(imported);
      hash.update(
        `${JSON.stringify(imported)} ${shardName.exec(basename(path))?.[1] ?? ''} ${file.batch_rows.join()}\n`,
      );
    }
  }
  const [first] = imports;
  const other = imports.find(({ tokenizer }) => tokenizer.sha256 !== first?.tokenizer.sha256);
  if (other !== undefined)
    throw dataError(
      `${paths.join(', ')}: these files were imported with different tokenizers`,
      'Import all of them with the tokenizer of the model.',
    );
  return { fingerprint: hash.digest('hex'), imported: imports.length === paths.length ? first : undefined };
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20 })) hash.update(chunk);
  } catch (error) {
    throw fileError(path, error);
  }
  return hash.digest('hex');
}
