// The files of a tokenizer, read and checked: tokenizer.json (what Python's tokenizers writes), tokenizer_config.json and
// chat_template.jinja (what transformers writes beside it).

import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../../common/errors.js';
import { clip, dataError, fileError, show } from '../errors.js';
import { endlessGroup, regexesIn } from './regex_check.js';

const addedToken = z.looseObject({
  id: z.int().nonnegative(),
  content: z.string().min(1),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().optional(),
  special: z.boolean().default(false),
});
export type AddedToken = z.infer<typeof addedToken>;

const part = z.looseObject({ type: z.string() }).nullable().default(null);
const tokenizerJson = z.looseObject({
  added_tokens: z.array(addedToken).nullish(),
  normalizer: part,
  pre_tokenizer: part,
  post_processor: part,
  decoder: part,
  model: z.looseObject({ vocab: z.unknown().optional(), merges: z.unknown().optional() }),
});

/** A token is its text, or an object with it. */
const token = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();
const templates = z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]);
const tokenizerConfig = z.looseObject({
  bos_token: token,
  eos_token: token,
  unk_token: token,
  pad_token: token,
  add_bos_token: z.boolean().nullish(),
  clean_up_tokenization_spaces: z.boolean().nullish(),
  chat_template: templates.nullish(),
  added_tokens_decoder: z.record(z.string().regex(/^\d+$/), addedToken.omit({ id: true })).nullish(),
  additional_special_tokens: z.array(token).nullish(),
});

export type TokenizerConfig = z.infer<typeof tokenizerConfig>;

/** A template, and the file that it stands in. */
export interface TemplateSource {
  source: string;
  file: string;
}

export interface TokenizerFiles {
  /** tokenizer.json, with the added tokens that only tokenizer_config.json has. */
  json: z.infer<typeof tokenizerJson> & { added_tokens: AddedToken[] };
  config: TokenizerConfig;
  chat_template: TemplateSource | undefined;
  /** Highest id + 1. */
  vocab_size: number;
}

const hint =
  'A tokenizer folder holds tokenizer.json and tokenizer_config.json: tokenizer.save_pretrained(FOLDER) in transformers writes both.';
/** No vocabulary comes near; a damaged id would cost that much memory. */
const mostIds = 2 ** 24;
const mostBytes = 2 ** 28;

export async function readTokenizerFiles(folder: string): Promise<TokenizerFiles> {
  const json = parse(tokenizerJson, ...(await readJson(join(folder, 'tokenizer.json'))));
  const config = parse(tokenizerConfig, ...(await readJson(join(folder, 'tokenizer_config.json'))));
  const file = join(folder, 'tokenizer.json');
  const added = mergeAdded(json.added_tokens ?? [], config);
  const ids = [...vocabIds(json.model.vocab, file), ...added.map(({ id }) => id)];
  checkMerges(json.model.merges, file);
  checkRegexes([json.normalizer, json.pre_tokenizer, json.post_processor, json.decoder], file);
  const highest = ids.reduce((most, id) => Math.max(most, id), -1);
  if (highest < 0) throw dataError(`${file}: model.vocab is empty`, hint);
  if (highest >= mostIds) throw dataError(`${file}: the id ${highest} is no token id`, hint);
  return {
    json: { ...json, added_tokens: added },
    config,
    chat_template: (await readTemplate(folder)) ?? defaultTemplate(config, folder),
    vocab_size: highest + 1,
  };
}

async function readJson(file: string): Promise<[value: unknown, file: string]> {
  const text = await readText(file);
  try {
    const value: unknown = JSON.parse(text.replace(/^\uFEFF/, ''));
    return [value, file];
  } catch (error) {
    throw dataError(`${file}: not JSON: ${clip(messageOf(error))}`, 'The file is damaged: copy it again.', error);
  }
}

/** Its size is known and limited before memory is taken. */
async function readText(file: string): Promise<string> {
  const refused = (error: unknown): never => {
    throw fileError(file, error, hint);
  };
  const info = await stat(file).catch(refused);
  if (info.isDirectory()) throw dataError(`${file}: this is a folder`, hint);
  if (!info.isFile()) throw dataError(`${file}: not a regular file`, hint);
  if (info.size > mostBytes) throw dataError(`${file}: ${info.size} bytes; at most ${mostBytes} are read`, hint);
  const bytes = await readFile(file).catch(refused);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw dataError(`${file}: not UTF-8 text`, 'The file is damaged: copy it again.', error);
  }
}

function isMissing(error: unknown): boolean {
  return (
    error instanceof Error && error.cause instanceof Error && 'code' in error.cause && error.cause.code === 'ENOENT'
  );
}

function parse<T>(shape: z.ZodType<T>, value: unknown, file: string): T {
  const parsed = shape.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw dataError(
    `${file}: ${issue?.path.join('.') || 'the file'}: ${clip(issue?.message.replace(/^Invalid input: /, '') ?? 'damaged')}`,
    hint,
  );
}

/** By hand: a vocabulary has 10⁵ entries and more. */
function vocabIds(vocab: unknown, file: string): number[] {
  if (Array.isArray(vocab)) {
    for (const [place, entry] of vocab.entries()) {
      if (!Array.isArray(entry) || typeof entry[0] !== 'string' || typeof entry[1] !== 'number')
        throw dataError(`${file}: model.vocab[${place}] is ${show(entry)}: a token and its score are needed`, hint);
    }
    return vocab.length > 0 ? [vocab.length - 1] : [];
  }
  if (typeof vocab !== 'object' || vocab === null)
    throw dataError(`${file}: model.vocab is ${show(vocab)}: an object from token to id is needed`, hint);
  const ids: number[] = [];
  for (const [text, id] of Object.entries(vocab)) {
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 0)
      throw dataError(`${file}: model.vocab: the id of ${show(text)} is ${show(id)}`, hint);
    ids.push(id);
  }
  return ids;
}

function checkMerges(merges: unknown, file: string): void {
  if (merges === undefined) return;
  if (!Array.isArray(merges)) throw dataError(`${file}: model.merges is ${show(merges)}: a list is needed`, hint);
  const isPair = (merge: unknown) =>
    Array.isArray(merge) && merge.length === 2 && merge.every((side) => typeof side === 'string');
  const place = merges.findIndex(
    (merge) => !isPair(merge) && !(typeof merge === 'string' && /^[^ ]+ [^ ]+$/.test(merge)),
  );
  if (place >= 0) throw dataError(`${file}: model.merges[${place}] is ${show(merges[place])}: no pair of tokens`, hint);
}

function checkRegexes(parts: readonly unknown[], file: string): void {
  const regexes = regexesIn(parts);
  if (regexes === undefined)
    throw dataError(`${file}: its parts are nested too deep`, 'The file is damaged: copy it again.');
  for (const regex of regexes) {
    const group = endlessGroup(regex);
    if (group !== undefined)
      throw dataError(
        `${file}: ${clip(group)} in a regular expression is a repeated group that holds a repeat or a choice`,
        'Some texts would take for ever; no published tokenizer has one.',
      );
  }
}

/** transformers adds what only tokenizer_config.json lists, so its ids count. */
function mergeAdded(added: readonly AddedToken[], { added_tokens_decoder }: TokenizerConfig): AddedToken[] {
  const known = new Set(added.map(({ content }) => content));
  const missing = Object.entries(added_tokens_decoder ?? {})
    .filter(([, { content }]) => !known.has(content))
    .map(([id, entry]): AddedToken => ({ ...entry, id: Number(id) }));
  return [...added, ...missing];
}

/** A file of its own since transformers 4.43; it wins over the template in tokenizer_config.json. */
async function readTemplate(folder: string): Promise<TemplateSource | undefined> {
  const file = join(folder, 'chat_template.jinja');
  const source = await readText(file).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  return source === undefined ? undefined : { source, file };
}

function defaultTemplate({ chat_template }: TokenizerConfig, folder: string): TemplateSource | undefined {
  const source =
    typeof chat_template === 'string' ? chat_template : chat_template?.find(({ name }) => name === 'default')?.template;
  return source === undefined ? undefined : { source, file: join(folder, 'tokenizer_config.json') };
}

export function textOf(value: z.infer<typeof token>): string | undefined {
  return typeof value === 'string' ? value : value?.content;
}
