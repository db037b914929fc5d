// The kinds of rows that a file may hold. A row is told by its keys; keys that no kind has are left alone, since files carry much else.

import { z } from 'zod';
import { clip, dataError, show, showKeys } from './errors.js';

export interface Message {
  role: string;
  content: string;
}

export type Row =
  | { kind: 'prompt_response'; id: string; prompt: string; response: string }
  | { kind: 'messages'; id: string; messages: readonly Message[] }
  | { kind: 'text'; id: string; text: string }
  | { kind: 'ids'; id: string; prompt_ids: readonly number[]; response_ids: readonly number[] }
  /** Only generation takes it: there is nothing to train on. */
  | { kind: 'prompt'; id: string; prompt: string };

/** Where a row begins. */
export interface Place {
  file: string;
  line: number;
}

/** What a reader found, not checked yet. */
export interface RawRow {
  place: Place;
  value: unknown;
}

const tokenIds = z.array(
  z
    .int()
    .nonnegative()
    .max(2 ** 31 - 1),
);
const message = z.object({ role: z.string().min(1), content: z.string() });
const id = z.union([z.string(), z.number()]).nullish();

const shapes = {
  ids: z.object({ prompt_ids: tokenIds, response_ids: tokenIds }),
  messages: z.object({ messages: z.array(message).min(1) }),
  prompt_response: z.object({ prompt: z.string(), response: z.string() }),
  text: z.object({ text: z.string() }),
  prompt: z.object({ prompt: z.string() }),
};

const wanted =
  'A row needs prompt and response, or messages (a list of {role, content}), or text, or prompt_ids and response_ids.';

/** Checks one row. `rowId` is used where it has no id of its own. */
export function parseRow({ place, value }: RawRow, rowId: string): Row {
  const where = `${place.file}:${place.line}`;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw dataError(`${where}: a row must be an object, found ${show(value)}`, wanted);
  const read = <T>(shape: z.ZodType<T>): T => {
    const parsed = shape.safeParse(value);
    if (!parsed.success) throw dataError(`${where}: ${firstIssue(parsed.error, value)}`, wanted);
    return parsed.data;
  };
  const given = read(z.object({ id })).id;
  const row = { id: given === undefined || given === null ? rowId : String(given) };
  // Text beside ids or messages is what they were made from, as in UltraChat's {prompt, messages}: the more exact form wins.
  const has = (key: string) => Object.hasOwn(value, key);
  if (has('chosen') || has('rejected'))
    throw dataError(
      `${where}: a preference row (chosen, rejected), which this version cannot train on`,
      'Write the chosen side as prompt and response, or as messages.',
    );
  if (has('prompt_ids') || has('response_ids')) return { kind: 'ids', ...row, ...read(shapes.ids) };
  if (has('messages')) return { kind: 'messages', ...row, ...read(shapes.messages) };
  if (has('response')) return { kind: 'prompt_response', ...row, ...read(shapes.prompt_response) };
  if (has('text')) return { kind: 'text', ...row, ...read(shapes.text) };
  if (has('prompt')) return { kind: 'prompt', ...row, ...read(shapes.prompt) };
  throw dataError(`${where}: no kind of row has ${showKeys(Object.keys(value))}`, wanted);
}

function firstIssue(error: z.ZodError, value: unknown): string {
  const issue = error.issues[0];
  if (issue === undefined) return 'not a row';
  const path = issue.path.reduce<string>(
    (text, part) => (typeof part === 'number' ? `${text}[${part}]` : `${text}${text === '' ? '' : '.'}${String(part)}`),
    '',
  );
  return `${path} is ${show(at(value, issue.path))}: ${clip(issue.message.replace(/^Invalid input: /, ''))}`;
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, part) =>
      typeof inner === 'object' && inner !== null && Object.hasOwn(inner, part) ? Reflect.get(inner, part) : undefined,
    value,
  );
}
