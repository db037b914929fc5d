// From a recipe to what a run stands on: the model's description, the tokenizer, the demonstrations as ids.

import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { GleanerError } from '../common/errors.js';
import type { Log } from '../common/log.js';
import { firstBytes } from '../data/chunks.js';
import { tokenizerOrigin } from '../data/import/origin.js';
import { arrow } from '../data/readers/arrow.js';
import { readRows } from '../data/readers.js';
import { MemoryRows, type TokenSource } from '../data/stream/row_source.js';
import type { TokenFiles } from '../data/stream/token_file.js';
import { RowTokenizer, type TokenizeCounts, type TokenizeSettings } from '../data/tokenize.js';
import { Tokenizer } from '../data/tokenizer/tokenizer.js';
import type { TokenRow } from '../engine/types.js';
import { isFile } from '../models/config.js';
import { filesToKeep, readConfigOnly } from '../models/folder.js';
import type { ModelDescription } from '../models/spec.js';
import { chosenMethod } from './plan.js';
import type { Recipe } from './schema.js';

export interface PreparedModel {
  description: ModelDescription;
  /** Without one, only rows of ids can be trained. */
  tokenizer: Tokenizer | undefined;
  /** What a saved copy takes along: generation_config.json and the tokenizer's files. */
  files: string[];
  /** Ends a demonstration. */
  eos_token_id: number;
  /** End an answer that is sampled. */
  eos_token_ids: number[];
}

export interface PreparedData {
  rows: TokenSource;
  held_out: TokenRow[];
  counts: TokenizeCounts;
  held_out_counts: TokenizeCounts | undefined;
  fitPair: RowTokenizer['fitPair'];
  close(): Promise<void>;
}

/** From config.json, the generation config and the tokenizer alone; no weight is read. */
export async function prepareModel(recipe: Pick<Recipe, 'model' | 'tokenizer'>): Promise<PreparedModel> {
  const { description } = await readConfigOnly(recipe.model);
  const folder = recipe.tokenizer ?? recipe.model;
  const tokenizer =
    recipe.tokenizer !== null || (await isFile(`${folder}/tokenizer.json`)) ? await Tokenizer.load(folder) : undefined;
  const files = await filesToKeep(recipe.model, folder);
  const own = tokenizer?.eos_token_id;
  const eos_token_id = own ?? description.eos_token_ids[0];
  if (eos_token_id === undefined) {
    throw new GleanerError(
      'ERR_GLEANER_MODEL',
      `${folder}: neither the tokenizer nor config.json names an EOS token`,
      'Add "eos_token" to tokenizer_config.json or "eos_token_id" to config.json: an answer has to end somehow.',
    );
  }
  if (eos_token_id >= description.spec.vocab) {
    throw new GleanerError(
      'ERR_GLEANER_MODEL',
      `${folder}: the tokenizer's EOS is id ${eos_token_id}, the model's vocabulary has ${description.spec.vocab}`,
      'Use the tokenizer that belongs to this model.',
    );
  }
  return {
    description,
    tokenizer,
    files,
    eos_token_id,
    eos_token_ids: [...new Set([eos_token_id, ...description.eos_token_ids])],
  };
}

/**
 * The demonstrations as ids; what was cut or dropped is said. Files that `data import` wrote (or any Arrow file of ids) are read as they are
 * trained on, others are read and tokenised here and held in memory.
 */
export async function prepareData(recipe: Recipe, model: PreparedModel, log: Log): Promise<PreparedData> {
  const { data } = recipe;
  const paths = [data.train].flat();
  const train = (await areTokenFiles(paths))
    ? await streamed(recipe, model, paths, log)
    : await held(recipe, model, paths, log);
  sayCounts(log, 'training data', train.counts, train.firstDropped);
  if (train.rows.length === 0) {
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      `${paths.join(', ')}: no row is left to train on`,
      describeDropped(train.counts),
    );
  }
  const evaluation =
    data.eval === null ? undefined : await tokenized(recipe, model, [data.eval].flat(), data.eval_limit, log);
  if (evaluation) sayCounts(log, 'evaluation data', evaluation.tokenizer.counts, evaluation.tokenizer.firstDropped);
  return {
    rows: train.rows,
    held_out: evaluation?.rows ?? [],
    counts: train.counts,
    held_out_counts: evaluation?.tokenizer.counts,
    fitPair: (row, generated) => train.fitter.fitPair(row, generated),
    close: train.close,
  };
}

interface Demonstrations {
  rows: TokenSource;
  counts: TokenizeCounts;
  firstDropped: Readonly<Record<string, string>>;
  fitter: RowTokenizer;
  close(): Promise<void>;
}

/** Arrow's code is loaded where a path may be Arrow. */
async function isTokenFile(path: string): Promise<boolean> {
  try {
    const maybe = (await stat(path)).isDirectory() || arrow.begins(await firstBytes(path, 8));
    return maybe && (await (await import('../data/stream/token_file.js')).isTokenFile(path));
  } catch {
    return false; // whoever reads it says what is wrong
  }
}

/** All of them or none: an order goes through files of one kind. */
async function areTokenFiles(paths: readonly string[]): Promise<boolean> {
  const found = await Promise.all(paths.map(isTokenFile));
  if (found.every((is) => !is) || found.every((is) => is)) return found[0] ?? false;
  const other = paths[found.indexOf(false)];
  throw new GleanerError(
    'ERR_GLEANER_DATA',
    `data.train mixes files of token ids with others: ${other}`,
    'Import those too: gleaner data import.',
  );
}

async function streamed(
  recipe: Recipe,
  model: PreparedModel,
  paths: readonly string[],
  log: Log,
): Promise<Demonstrations> {
  const { data } = recipe;
  if (recipe.paper_compat && chosenMethod(recipe).pairs) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `paper_compat ends generated answers as the demonstrations' texts end, and ${paths[0]} holds ids`,
      'Train on the files that were imported.',
    );
  }
  const settings = settingsOf(recipe, model);
  const { openTokenSource } = await import('../data/stream/token_file.js');
  const rows = await openTokenSource(paths, {
    ...settings,
    bos_token_id: model.tokenizer?.bos_token_id,
    limit: data.limit,
  });
  const fitter = new RowTokenizer(model.tokenizer, settings);
  try {
    await checkImport(rows, model, data.max_length, log);
  } catch (error) {
    await rows.close();
    throw error;
  }
  return { rows, counts: rows.counts, firstDropped: rows.firstDropped, fitter, close: () => rows.close() };
}

/** Ids mean what the tokenizer that made them says. */
async function checkImport(
  { imported }: TokenFiles,
  { tokenizer }: PreparedModel,
  max_length: number,
  log: Log,
): Promise<void> {
  if (imported === undefined) return;
  if (tokenizer !== undefined && (await tokenizerOrigin(tokenizer)).sha256 !== imported.tokenizer.sha256) {
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      `${tokenizer.path}: not the tokenizer that data.train was imported with`,
      'Import the data again with this tokenizer, or set tokenizer to the one it was imported with.',
    );
  }
  const cut = imported.settings.max_length;
  if (cut !== null && cut < max_length)
    log.warn(
      `data.train was imported with max length ${cut}: longer rows are cut there, not at data.max_length ${max_length}`,
    );
}

async function held(recipe: Recipe, model: PreparedModel, paths: readonly string[], log: Log): Promise<Demonstrations> {
  const { rows, tokenizer } = await tokenized(recipe, model, paths, recipe.data.limit, log);
  const { counts, firstDropped } = tokenizer;
  return { rows: inMemory(rows), counts, firstDropped, fitter: tokenizer, close: async () => {} };
}

function settingsOf(recipe: Recipe, model: PreparedModel): TokenizeSettings {
  const { data, generation, paper_compat } = recipe;
  return {
    template: data.template,
    bos: data.bos,
    max_length: data.max_length,
    max_prompt_length: data.max_prompt_length,
    max_new_tokens: chosenMethod(recipe).pairs ? generation.max_new_tokens : null,
    eos_token_id: model.eos_token_id,
    vocab: model.description.spec.vocab,
    paper_compat,
  };
}

async function tokenized(
  recipe: Recipe,
  model: PreparedModel,
  paths: readonly string[],
  limit: number | null,
  log: Log,
) {
  const tokenizer = new RowTokenizer(model.tokenizer, settingsOf(recipe, model));
  const rows: TokenRow[] = [];
  let preferences = 0;
  for await (const row of readRows(paths, { format: recipe.data.format, limit })) {
    if (row.kind === 'preference') ++preferences;
    const ids = tokenizer.tokenize(row);
    if (ids) rows.push(ids);
  }
  if (preferences > 0) log.info(`${preferences} preferences: their chosen side is the demonstration`);
  return { rows, tokenizer };
}

function inMemory(rows: readonly TokenRow[]): TokenSource {
  const hash = createHash('sha256');
  for (const { id, prompt_ids, response_ids } of rows)
    hash
      .update(`${id}\0${prompt_ids.length} `)
      .update(Int32Array.from(prompt_ids))
      .update(Int32Array.from(response_ids));
  return Object.assign(new MemoryRows(rows), {
    prompt_lengths: Int32Array.from(rows, (row) => row.prompt_ids.length),
    response_lengths: Int32Array.from(rows, (row) => row.response_ids.length),
    fingerprint: hash.digest('hex'),
  });
}

function sayCounts(
  log: Log,
  what: string,
  counts: TokenizeCounts,
  firstDropped: Readonly<Record<string, string>>,
): void {
  const { read, kept, prompts_cut, responses_cut } = counts;
  const parts = [`${kept} of ${read} rows`];
  if (prompts_cut > 0) parts.push(`${prompts_cut} prompts cut`);
  if (responses_cut > 0) parts.push(`${responses_cut} responses cut`);
  const dropped = describeDropped(counts);
  if (dropped) parts.push(dropped);
  log.info(`${what}: ${parts.join(', ')}`);
  for (const [reason, first] of Object.entries(firstDropped)) log.info(`  ${reason}, the first: ${first}`);
}

function describeDropped({ dropped }: TokenizeCounts): string | undefined {
  const reasons = Object.entries(dropped).filter(([, count]) => count > 0);
  return reasons.length === 0
    ? undefined
    : `dropped ${reasons.map(([reason, count]) => `${count} (${reason})`).join(', ')}`;
}
