// A recipe's text, its --set changes, and the objects that are checked against the schema. A mistake is named with its line, its key and,
// for a key that nobody knows, the nearest one that is known.

import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { closest, distance } from 'fastest-levenshtein';
import { type Document, Lexer, LineCounter, Parser, parseDocument, stringify } from 'yaml';
import type { z } from 'zod';
import { GleanerError, messageOf } from '../common/errors.js';
import { methods } from '../methods/methods.js';
import { keysAt } from './keys.js';
import { type Recipe, recipeSchema, withNames } from './schema.js';

/** Where a recipe's keys stand, for messages: a line of the file, or an option of the command. */
interface Source {
  whereOf(path: readonly PropertyKey[]): string;
}

const SUGGESTED_DISTANCE = 4;
const MAX_BYTES = 2 ** 17;
const MAX_MESSAGES = 12;
const MAX_DEPTH = 64;
const MAX_KEYS = 1000;
const minimal =
  'A minimal recipe: method: irft, model: DIR, data: { train: FILE }, each on a line of its own. See docs/recipes.md.';

function recipeError(message: string, hint?: string, cause?: unknown): GleanerError {
  return new GleanerError('ERR_GLEANER_RECIPE', message, hint, cause === undefined ? undefined : { cause });
}

/** A recipe's file, with `sets` (KEY=VALUE, VALUE in YAML) in place of what stands in it. Errors: ERR_GLEANER_RECIPE with line and key. */
export async function readRecipe(path: string, sets: readonly string[] = []): Promise<Recipe> {
  return parseRecipe(await readText(path), path, sets);
}

async function readText(path: string): Promise<string> {
  const info = await stat(path).catch(async (cause: unknown) => {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    if (!missing) throw recipeError(`${path}: cannot be read: ${messageOf(cause)}`, wanted, cause);
    const near = await nearFiles(path);
    const suggestion = near.length > 0 ? `; did you mean ${near.join(' or ')}?` : '';
    throw recipeError(`${path}: there is no such file${suggestion}`, wanted, cause);
  });
  if (!info.isFile())
    throw recipeError(`${path}: ${info.isDirectory() ? 'this is a folder' : 'not a regular file'}`, wanted);
  if (info.size > MAX_BYTES)
    throw recipeError(`${path}: ${info.size} bytes; a recipe has at most ${MAX_BYTES}`, wanted);
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw recipeError(`${path}: cannot be read: ${messageOf(cause)}`, wanted, cause);
  });
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw recipeError(`${path}: not UTF-8 text`, wanted, cause);
  }
}

const wanted = 'Give the path of a recipe, a YAML file: examples/ has some.';

/** Recipes of the same folder whose names are like the one that is missing; where none is, those that are there. */
async function nearFiles(path: string): Promise<string[]> {
  const folder = dirname(path);
  const names = await readdir(folder).catch((): string[] => []);
  const recipes = names.filter((name) => /\.ya?ml$/i.test(name));
  const stem = (name: string) => name.replace(/\.ya?ml$/i, '').toLowerCase();
  const own = stem(basename(path));
  const like = recipes.filter((name) => {
    const other = stem(name);
    return (
      distance(own, other) <= Math.min(SUGGESTED_DISTANCE, own.length - 1) || other.includes(own) || own.includes(other)
    );
  });
  like.sort((a, b) => distance(own, stem(a)) - distance(own, stem(b)) || (a < b ? -1 : 1));
  return (like.length > 0 ? like : recipes.sort()).slice(0, 3).map((name) => clip(join(folder, name)));
}

/** The same for its text; `file` is the name in messages. */
export function parseRecipe(text: string, file: string, sets: readonly string[] = []): Recipe {
  const { value, lineOf } = parseYaml(text, file);
  if (value === null || value === undefined) throw recipeError(`${file}: the recipe is empty`, minimal);
  if (typeof value !== 'object' || Array.isArray(value))
    throw recipeError(`${file}: a recipe is keys and values, this is ${showValue(value)}`, minimal);
  const changes = sets.map(readSet);
  const changed = changes.reduce<object>((recipe, { path, value: set }) => replaced(recipe, path, set), value);
  return checkRecipe(changed, { whereOf: (path) => setOf(path, changes, value) ?? `${file}${lineOf(path)}` });
}

interface Parsed {
  value: unknown;
  /** ':LINE', or '' for what has none. */
  lineOf(path: readonly PropertyKey[]): string;
}

function parseYaml(text: string, file: string): Parsed {
  const lines = new LineCounter();
  if (text.length > MAX_BYTES) throw recipeError(`${file}: ${text.length} characters; at most ${MAX_BYTES} are read`);
  try {
    checkSize(text, file);
    const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
    const [error] = document.errors;
    if (error) {
      const { line, col } = lines.linePos(error.pos[0]);
      throw recipeError(`${file}:${line}:${col}: ${clip(error.message, 300)}`, 'A recipe is YAML.', error);
    }
    // Aliases are limited: a small file cannot unfold into a large object.
    return { value: document.toJS({ maxAliasCount: 100 }), lineOf: (path) => lineOf(document, lines, path) };
  } catch (cause) {
    if (cause instanceof GleanerError) throw cause;
    const why = cause instanceof RangeError ? 'nested too deep' : clip(messageOf(cause), 300);
    throw recipeError(`${file}: ${why}`, 'A recipe is YAML.', cause);
  }
}

/**
 * Before the library composes the text: it calls itself level by level, and Node dies, not throws, when it compiles a regular expression at the
 * end of its stack; and it compares each key with all others.
 */
function checkSize(text: string, file: string): void {
  const parser = new Parser();
  let keys = 0;
  for (const lexeme of new Lexer().lex(text)) {
    for (const _ of parser.next(lexeme)); // builds up its stack
    if (parser.stack.length > MAX_DEPTH)
      throw recipeError(`${file}: nested too deep`, `At most ${MAX_DEPTH} levels are read.`);
    keys += lexeme === ':' ? 1 : 0;
    if (keys > MAX_KEYS) throw recipeError(`${file}: more than ${MAX_KEYS} keys`, 'docs/recipes.md lists every key.');
  }
}

/** The --set that a key at fault comes from: it set the key, or what holds it, or made what holds it. */
function setOf(path: readonly PropertyKey[], changes: readonly Change[], inFile: object): string | undefined {
  const starts = (long: readonly PropertyKey[], short: readonly PropertyKey[]) =>
    short.every((key, place) => String(key) === String(long[place]));
  const from = changes.findLast(
    (change) => starts(path, change.path) || (starts(change.path, path) && valueAt(inFile, path) === undefined),
  );
  return from === undefined ? undefined : `--set ${clip(from.text)}`;
}

/** Checks an object against the schema and fills in the defaults. */
export function checkRecipe(value: unknown, source?: Source): Recipe {
  const parsed = recipeSchema.safeParse(value);
  if (parsed.success) return withNames(parsed.data);
  const messages = parsed.error.issues.map((issue) => describeIssue(issue, value, source));
  const shown = messages.slice(0, MAX_MESSAGES);
  if (messages.length > shown.length) shown.push(`and ${messages.length - shown.length} more`);
  throw recipeError(shown.join('\n'), 'docs/recipes.md lists every key and its default.', parsed.error);
}

export function recipeText(recipe: Recipe): string {
  return stringify(recipe, { lineWidth: 0 });
}

interface Change {
  text: string;
  path: string[];
  value: unknown;
}

/** a.b=v: v is YAML, so numbers, null, lists and text are what they look like. */
function readSet(text: string): Change {
  const equals = text.indexOf('=');
  const path = text.slice(0, Math.max(0, equals)).trim().split('.');
  if (equals < 1 || path.some((part) => part === '') || path.length > 16 || text.length > MAX_BYTES)
    throw recipeError(
      `--set ${clip(text)}: expected KEY=VALUE`,
      'For example --set train.optimizer.learning_rate=1e-6',
    );
  return { text, path, value: parseYaml(text.slice(equals + 1), `--set ${clip(text)}: the value is not YAML`).value };
}

function replaced(section: unknown, [key = '', ...rest]: readonly string[], value: unknown): object {
  const here = typeof section === 'object' && section !== null && !Array.isArray(section) ? { ...section } : {};
  const inner =
    rest.length === 0 ? value : replaced(Object.entries(here).find(([name]) => name === key)?.[1], rest, value);
  // defineProperty: a key such as __proto__ becomes a plain key, which the schema then refuses.
  return Object.defineProperty(here, key, { value: inner, enumerable: true, configurable: true, writable: true });
}

function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): string {
  for (let length = path.length; length > 0; --length) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)) {
      const [start]: unknown[] = node.range;
      if (typeof start === 'number') return `:${lines.linePos(start).line}`;
    }
  }
  return '';
}

function describeIssue(issue: z.core.$ZodIssue, value: unknown, source: Source | undefined): string {
  const [unknownKey] = issue.code === 'unrecognized_keys' ? issue.keys : [];
  const path = unknownKey === undefined ? issue.path : [...issue.path, unknownKey];
  const where = source ? `${source.whereOf(path)}: ` : '';
  const key = clip(path.map(String).join('.'));
  if (unknownKey !== undefined) {
    const nearest = nearestKey(unknownKey, issue.path);
    return `${where}unknown key ${key}${nearest === undefined ? '' : `; did you mean ${nearest}?`}`;
  }
  const found = valueAt(value, issue.path);
  const missing = found === undefined;
  return `${where}${missing ? `${key} is missing` : `${key} is ${showValue(found)}`}: ${expectation(issue)}`;
}

/** Types as people name them. */
const kinds: Readonly<Record<string, string>> = {
  object: 'a section with keys',
  array: 'a list',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function expectation(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `one of ${issue.values.map(String).join(', ')} is needed`;
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    return [...new Set(issue.errors.flat().map((inner) => expectation(inner)))].join(', or ');
  }
  if (issue.code === 'invalid_type') return `${kinds[issue.expected] ?? issue.expected} is needed`;
  return issue.message;
}

/** The nearest key of the same section; else, of all others, one that is almost the same, or stands in another section under this name. */
function nearestKey(key: string, path: readonly PropertyKey[]): string | undefined {
  if (key.length > 64) return undefined; // no key of ours is near
  const section = path.map(String);
  const limit = Math.min(SUGGESTED_DISTANCE, key.length - 1);
  const own = keysAt(recipeSchema, path);
  const nearest = own.length === 0 ? undefined : closest(key, own);
  if (nearest !== undefined && distance(key, nearest) <= Math.min(2, limit)) return [...section, nearest].join('.');
  const elsewhere = allKeys(recipeSchema).map((known) => ({ known, far: distance(key, known.at(-1) ?? '') }));
  const [best] = elsewhere.sort((a, b) => a.far - b.far || rank(a.known) - rank(b.known));
  if (best !== undefined && best.far <= Math.min(2, limit)) return best.known.join('.');
  return nearest !== undefined && distance(key, nearest) <= limit ? [...section, nearest].join('.') : undefined;
}

/** Of keys with one name, those of no method first: they hold for all. */
function rank(path: readonly string[]): number {
  return path.length + (Object.hasOwn(methods, path[0] ?? '') ? 10 : 0);
}

/** Paths of every key. */
function allKeys(schema: z.core.$ZodType, path: readonly string[] = []): string[][] {
  return keysAt(schema, path).flatMap((key) => [[...path, key], ...allKeys(schema, [...path, key])]);
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, key) =>
      typeof inner === 'object' && inner !== null
        ? Object.entries(inner).find(([name]) => name === String(key))?.[1]
        : undefined,
    value,
  );
}

function showValue(value: unknown): string {
  if (Array.isArray(value) && value.length > 8) return `a list of ${value.length}`;
  try {
    return clip(JSON.stringify(value) ?? String(value));
  } catch {
    return 'a value that holds itself, or is nested too deep';
  }
}

function clip(text: string, most = 80): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length > most ? `${line.slice(0, most - 3)}…` : line;
}
