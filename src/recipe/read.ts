// A recipe's text, its --set changes, and the objects that are checked against the schema. A mistake is named with its line, its key and,
// for a key that nobody knows, the nearest one that is known.

import { readFile } from 'node:fs/promises';
import { closest, distance } from 'fastest-levenshtein';
import { type Document, LineCounter, parse, parseDocument, stringify } from 'yaml';
import { z } from 'zod';
import { GleanerError, messageOf } from '../common/errors.js';
import { type Recipe, recipeSchema, withNames } from './schema.js';

/** Where a recipe's keys stand, for messages. */
interface Source {
  file: string;
  lineOf(path: readonly PropertyKey[]): number | undefined;
}

const SUGGESTED_DISTANCE = 4;

export async function readRecipe(path: string, sets: readonly string[] = []): Promise<Recipe> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `${path}: cannot be read: ${messageOf(cause)}`,
      'Give the path of a recipe (YAML).',
      { cause },
    );
  }
  return parseRecipe(text, path, sets);
}

export function parseRecipe(text: string, file: string, sets: readonly string[] = []): Recipe {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const [error] = document.errors;
  if (error) {
    const { line, col } = lines.linePos(error.pos[0]);
    throw new GleanerError('ERR_GLEANER_RECIPE', `${file}:${line}:${col}: ${error.message}`, 'A recipe is YAML.', {
      cause: error,
    });
  }
  const source: Source = { file, lineOf: (path) => lineOf(document, lines, path) };
  const value = plain(document, file);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `${file}: a recipe is a list of keys and values`,
      'See docs/recipes.md.',
    );
  }
  const changed = sets.reduce<object>((recipe, set) => withSet(recipe, set), value);
  return checkRecipe(changed, source);
}

/** Checks an object against the schema and fills in the defaults. */
export function checkRecipe(value: unknown, source?: Source): Recipe {
  const parsed = recipeSchema.safeParse(value);
  if (parsed.success) return withNames(parsed.data);
  const messages = parsed.error.issues.map((issue) => describeIssue(issue, value, source));
  const [first = 'the recipe is not valid', ...others] = messages;
  throw new GleanerError(
    'ERR_GLEANER_RECIPE',
    [first, ...others].join('\n'),
    'docs/recipes.md lists every key and its default.',
    { cause: parsed.error },
  );
}

export function recipeText(recipe: Recipe): string {
  return stringify(recipe, { lineWidth: 0 });
}

/** a.b=v: v is YAML, so numbers, null, lists and text are what they look like. */
function withSet(recipe: object, set: string): object {
  const equals = set.indexOf('=');
  const path = set.slice(0, Math.max(0, equals)).trim();
  if (equals < 1 || path.split('.').some((part) => part === '')) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `--set ${set}: expected KEY=VALUE`,
      'For example --set train.optimizer.learning_rate=1e-6',
    );
  }
  let value: unknown;
  try {
    value = parse(set.slice(equals + 1), { logLevel: 'error' });
  } catch (cause) {
    throw new GleanerError(
      'ERR_GLEANER_RECIPE',
      `--set ${set}: the value is not YAML: ${messageOf(cause)}`,
      undefined,
      { cause },
    );
  }
  return replaced(recipe, path.split('.'), value);
}

function replaced(section: unknown, [key = '', ...rest]: readonly string[], value: unknown): object {
  const here = typeof section === 'object' && section !== null && !Array.isArray(section) ? { ...section } : {};
  const inner =
    rest.length === 0 ? value : replaced(Object.entries(here).find(([name]) => name === key)?.[1], rest, value);
  // defineProperty: a key such as __proto__ becomes a plain key, which the schema then refuses.
  return Object.defineProperty(here, key, { value: inner, enumerable: true, configurable: true, writable: true });
}

/** Aliases are limited by the library: a small file cannot unfold into a large object. */
function plain(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw new GleanerError('ERR_GLEANER_RECIPE', `${file}: ${messageOf(cause)}`, undefined, { cause });
  }
}

function lineOf(document: Document, lines: LineCounter, path: readonly PropertyKey[]): number | undefined {
  for (let length = path.length; length > 0; --length) {
    const node: unknown = document.getIn(path.slice(0, length), true);
    if (typeof node === 'object' && node !== null && 'range' in node && Array.isArray(node.range)) {
      const [start]: unknown[] = node.range;
      if (typeof start === 'number') return lines.linePos(start).line;
    }
  }
  return undefined;
}

function describeIssue(issue: z.core.$ZodIssue, value: unknown, source: Source | undefined): string {
  const [unknownKey] = issue.code === 'unrecognized_keys' ? issue.keys : [];
  const path = unknownKey === undefined ? issue.path : [...issue.path, unknownKey];
  const line = source?.lineOf(path);
  const where = source ? `${source.file}${line === undefined ? '' : `:${line}`}: ` : '';
  const key = path.map(String).join('.');
  if (unknownKey !== undefined) {
    const nearest = nearestKey(unknownKey, issue.path);
    return `${where}unknown key ${key}${nearest === undefined ? '' : `; did you mean ${[...issue.path, nearest].map(String).join('.')}?`}`;
  }
  const found = valueAt(value, issue.path);
  const missing = found === undefined;
  return `${where}${missing ? `${key} is missing` : `${key} is ${clip(JSON.stringify(found) ?? String(found))}`}: ${expectation(issue)}`;
}

function expectation(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `one of ${issue.values.map(String).join(', ')} is needed`;
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    return [...new Set(issue.errors.flat().map((inner) => expectation(inner)))].join(', or ');
  }
  return issue.message;
}

/** Keys of the section at path, and of the whole recipe where a key stands in the wrong section. */
function nearestKey(key: string, path: readonly PropertyKey[]): string | undefined {
  const known = keysAt(recipeSchema, path);
  if (known.length === 0) return undefined;
  const nearest = closest(key, known);
  return distance(key, nearest) <= Math.min(SUGGESTED_DISTANCE, key.length - 1) ? nearest : undefined;
}

function keysAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const inner = unwrapped(schema);
  const [first, ...rest] = path;
  if (inner instanceof z.ZodObject) {
    if (first === undefined) return Object.keys(inner.shape);
    const next: unknown = inner.shape[String(first)];
    return next instanceof z.ZodType ? keysAt(next, rest) : [];
  }
  if (inner instanceof z.ZodUnion) return inner.options.flatMap((option) => keysAt(option, path));
  return [];
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodOptional
  ) {
    return unwrapped(schema.unwrap());
  }
  return schema instanceof z.ZodPipe ? unwrapped(schema.out) : schema;
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

function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
