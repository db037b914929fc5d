// JSON of a model folder, read strictly: UTF-8, no key twice (JSON.parse would keep the last in silence), and where each top-level
// value stands in the text, so that a saved config.json can change one value and keep every other byte.

import { GleanerError } from '../common/errors.js';

export interface Span {
  start: number;
  end: number;
}

export interface JsonObject {
  /** Named in errors. */
  file: string;
  text: string;
  values: Record<string, unknown>;
  /** Of the top-level values, without the white space around them. */
  spans: ReadonlyMap<string, Span>;
}

export function modelError(
  message: string,
  hint = 'docs/models.md says what a model folder holds.',
  cause?: unknown,
): GleanerError {
  return new GleanerError('ERR_GLEANER_MODEL', message, hint, cause === undefined ? undefined : { cause });
}

/** A value as an error shows it: short, and safe for values of any depth. */
export function show(value: unknown): string {
  if (value === undefined) return 'missing';
  if (Array.isArray(value)) {
    const short = value.length <= 8 && value.every((item) => typeof item !== 'object' || item === null);
    return short ? `[${value.map(show).join(', ')}]` : `a list of ${value.length}`;
  }
  if (typeof value === 'object' && value !== null) {
    const keys = Object.keys(value);
    return `an object (${keys.slice(0, 6).map(clip).join(', ')}${keys.length > 6 ? ', …' : ''})`;
  }
  return clip(JSON.stringify(value));
}

export function clip(text: string): string {
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function parseJsonObject(bytes: Uint8Array, file: string): JsonObject {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw modelError(`${file}: not UTF-8 text`, undefined, cause);
  }
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch (cause) {
    throw modelError(
      `${file}: not JSON: ${clip(cause instanceof Error ? cause.message : String(cause))}`,
      undefined,
      cause,
    );
  }
  if (!isObject(values)) throw modelError(`${file}: a JSON object was expected, found ${show(values)}`);
  return { file, text, values, spans: scan(text, file) };
}

/** Walks text that JSON.parse has accepted. */
function scan(text: string, file: string): Map<string, Span> {
  const spans = new Map<string, Span>();
  const keys: (Set<string> | undefined)[] = []; // one an open bracket; undefined for a list
  let member: string | undefined; // of the top-level object, its value not ended yet
  let start = 0;
  let end = 0; // after the last character that is not white space
  const close = (): void => {
    if (keys.length === 1 && member !== undefined) spans.set(member, { start, end });
  };
  for (let i = 0; i < text.length; ) {
    const character = text.charAt(i);
    if (character === '"') {
      const stop = stringEnd(text, i);
      const colon = skipSpace(text, stop);
      const seen = keys.at(-1);
      if (seen !== undefined && text.charAt(colon) === ':') {
        const key = unquote(text.slice(i, stop));
        if (seen.has(key)) throw modelError(`${file}: the key ${clip(JSON.stringify(key))} stands there twice`);
        seen.add(key);
        if (keys.length === 1) {
          member = key;
          start = skipSpace(text, colon + 1);
        }
        i = colon + 1;
      } else {
        i = end = stop;
      }
      continue;
    }
    if (character === ',') close();
    if (character === '}' || character === ']') {
      close();
      keys.pop();
    }
    if (character === '{') keys.push(new Set());
    if (character === '[') keys.push(undefined);
    i += 1;
    if (!isSpace(character)) end = i;
  }
  return spans;
}

function stringEnd(text: string, open: number): number {
  let i = open + 1;
  while (text.charAt(i) !== '"') i += text.charAt(i) === '\\' ? 2 : 1;
  return i + 1;
}

function unquote(quoted: string): string {
  return quoted.includes('\\') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
}

function isSpace(character: string): boolean {
  return character === ' ' || character === '\n' || character === '\r' || character === '\t';
}

function skipSpace(text: string, from: number): number {
  let i = from;
  while (isSpace(text.charAt(i))) i += 1;
  return i;
}

/** The same text with top-level values set; a new key goes to the end. Values are given as JSON text. */
export function editJson(json: JsonObject, edits: ReadonlyMap<string, string>): string {
  const changes: { start: number; end: number; text: string }[] = [];
  let appended = '';
  const last = [...json.spans.values()].reduce((most, span) => Math.max(most, span.end), json.text.indexOf('{') + 1);
  for (const [key, value] of edits) {
    const span = json.spans.get(key);
    if (span) changes.push({ ...span, text: value });
    else {
      const comma = json.spans.size > 0 || appended !== '' ? ',' : '';
      appended += `${comma}\n  ${JSON.stringify(key)}: ${value}`;
    }
  }
  changes.push({ start: last, end: last, text: appended });
  changes.sort((a, b) => b.start - a.start || b.end - a.end);
  return changes.reduce(
    (text, { start, end, text: value }) => text.slice(0, start) + value + text.slice(end),
    json.text,
  );
}
