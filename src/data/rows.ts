// The kinds of rows that a file may hold. A row is told by its keys; keys that no kind has are left alone, since files carry much else.

import { z } from 'zod';
import { clip, dataError, show, showKeys } from './errors.js';

/** A turn of a chat. */
export interface Message {
  role: string;
  content: string;
}

/** A row of a data file: docs/data.md. */
export type Row =
  | { kind: 'prompt_response'; id: string; prompt: string; response: string }
  | { kind: 'messages'; id: string; messages: readonly Message[] }
  | PreferenceRow
  | { kind: 'text'; id: string; text: string }
  | { kind: 'ids'; id: string; prompt_ids: readonly number[]; response_ids: readonly number[] }
  /** Only generation takes it: there is nothing to train on. */
  | { kind: 'prompt'; id: string; prompt: string };

/** Two answers to one prompt, or to one chat. */
export type PreferenceRow = {
  kind: 'preference';
  id: string;
  chosen: string;
  rejected: string;
  /** The rejected side was the answer to something else: the chosen side's prompt stands here. */
  prompts_differ: boolean;
} & ({ prompt: string } | { messages: readonly Message[] });

/** Where a row begins: a line of a text, or the number of a row, both from 1. */
export interface Place {
  file: string;
  line: number;
  unit?: 'row';
}

/** As messages say it. */
export const showPlace = ({ file, line, unit }: Place) => (unit === 'row' ? `${file}, row ${line}` : `${file}:${line}`);

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
const messages = z.array(message).min(1);
const id = z.union([z.string(), z.number(), z.bigint()]).nullish();
const answer = z.union(
  [z.string(), message, messages],
  'expected a string, a message {role, content} or a list of them',
);

const shapes = {
  id: z.object({ id }),
  ids: z.object({ prompt_ids: tokenIds, response_ids: tokenIds }),
  messages: z.object({ messages }),
  spin: z.object({ real: messages }),
  preference: z.object({
    prompt: z.string().nullish(),
    messages: messages.nullish(),
    chosen: answer,
    rejected: answer,
  }),
  prompt_response: z.object({ prompt: z.string(), response: z.string() }),
  text: z.object({ text: z.string() }),
  prompt: z.object({ prompt: z.string() }),
};

type Told = Exclude<keyof typeof shapes, 'id'>;

/** Keys that tell a kind, the more exact kind first: text beside ids or messages is what they were made from, as in UltraChat's rows. */
const kinds: readonly { kind: Told; keys: readonly string[] }[] = [
  { kind: 'ids', keys: ['prompt_ids', 'response_ids'] },
  { kind: 'preference', keys: ['chosen', 'rejected'] },
  { kind: 'spin', keys: ['real'] },
  { kind: 'messages', keys: ['messages'] },
  { kind: 'prompt_response', keys: ['response'] },
  { kind: 'text', keys: ['text'] },
  { kind: 'prompt', keys: ['prompt'] },
];

/** All that a row may be told and made by; other columns of a table are not read. */
export const rowKeys: ReadonlySet<string> = new Set(Object.values(shapes).flatMap((shape) => Object.keys(shape.shape)));

const wanted =
  'A row needs prompt and response, or messages (a list of {role, content}), or chosen and rejected, or text, or prompt_ids and response_ids.';

/** Checks one row. `rowId` is used where it has no id of its own. */
export function parseRow({ place, value }: RawRow, rowId: string): Row {
  const where = showPlace(place);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw dataError(`${where}: a row must be an object, found ${show(value)}`, wanted);
  const read = <T>(shape: z.ZodType<T>): T => {
    const parsed = shape.safeParse(value);
    if (!parsed.success) throw dataError(`${where}: ${firstIssue(parsed.error, value)}`, wanted);
    return parsed.data;
  };
  const given = read(shapes.id).id;
  const row = { id: given === undefined || given === null ? rowId : String(given) };
  switch (kindOf(value)) {
    case 'ids':
      return { kind: 'ids', ...row, ...read(shapes.ids) };
    case 'preference':
      return { kind: 'preference', ...row, ...preference(where, read(shapes.preference)) };
    case 'spin':
      return { kind: 'messages', ...row, messages: read(shapes.spin).real };
    case 'messages':
      return { kind: 'messages', ...row, ...read(shapes.messages) };
    case 'prompt_response':
      return { kind: 'prompt_response', ...row, ...read(shapes.prompt_response) };
    case 'text':
      return { kind: 'text', ...row, ...read(shapes.text) };
    case 'prompt':
      return { kind: 'prompt', ...row, ...read(shapes.prompt) };
    default:
      throw dataError(`${where}: no kind of row has ${showKeys(Object.keys(value))}`, wanted);
  }
}

/** A table has a cell for every column in every row: where it is null, the kind is another; a lone null is told as what it is. */
function kindOf(value: object): Told | undefined {
  const own = (key: string) => Object.hasOwn(value, key);
  const told = kinds.find(({ kind, keys }) =>
    keys.some((key) => own(key) && (kind === 'prompt_response' || Reflect.get(value, key) !== null)),
  );
  return (told ?? kinds.find(({ keys }) => keys.some(own)))?.kind;
}

type Sides = z.infer<typeof shapes.preference>;
type Answer = z.infer<typeof answer>;
type Context = { prompt: string } | { messages: readonly Message[] };

/** prompt or messages, and two answers; or two whole texts, which carry their prompt themselves. */
function preference(where: string, { prompt, messages, chosen, rejected }: Sides) {
  const before = messages ?? (typeof prompt === 'string' ? prompt : undefined);
  const [real, other] = [side(where, 'chosen', chosen, before), side(where, 'rejected', rejected, before)];
  const prompts_differ = JSON.stringify(real.context) !== JSON.stringify(other.context);
  return { ...real.context, chosen: real.answer, rejected: other.answer, prompts_differ };
}

function side(where: string, key: string, given: Answer, before: string | readonly Message[] | undefined) {
  if (typeof given !== 'string') return chatSide(where, key, Array.isArray(given) ? given : [given], before);
  if (typeof before === 'string') return { context: { prompt: before } satisfies Context, answer: given };
  if (before !== undefined) return { context: { messages: before } satisfies Context, answer: given };
  return transcriptSide(where, key, given);
}

/** Messages that begin as their context does are the whole chat; others continue it. */
function chatSide(
  where: string,
  key: string,
  given: readonly Message[],
  before: string | readonly Message[] | undefined,
) {
  const last = given.at(-1);
  if (last?.role !== 'assistant')
    throw dataError(`${where}: ${key} ends with a message of ${show(last?.role)}: expected the assistant’s`, wanted);
  const earlier = given.slice(0, -1);
  const context = typeof before === 'string' ? [{ role: 'user', content: before }] : (before ?? []);
  // Whole chats repeat what stands beside them; UltraFeedback's `messages` even has the chosen answer in it.
  const first = context[0];
  const repeats = earlier.some(
    ({ role, content }, at) =>
      (typeof before === 'string' || at === 0) && role === first?.role && content === first.content,
  );
  const messages = repeats ? earlier : [...context, ...earlier];
  if (messages.length === 0)
    throw dataError(`${where}: ${key} is an answer without what it answers`, 'Add prompt, or messages.');
  return { context: { messages } satisfies Context, answer: last.content };
}

const answerMark = '\n\nAssistant:';

/** Anthropic's helpful and harmless transcripts: the last answer is what was chosen or rejected, all before it the prompt. */
function transcriptSide(where: string, key: string, text: string) {
  const begin = text.lastIndexOf(answerMark);
  if (!text.startsWith('\n\nHuman:') || begin < 0)
    throw dataError(
      `${where}: ${key} is ${show(text)}, and there is no prompt`,
      'Add prompt or messages; without them chosen and rejected are transcripts: "\\n\\nHuman: …\\n\\nAssistant: …".',
    );
  const end = begin + answerMark.length;
  return { context: { prompt: text.slice(0, end) } satisfies Context, answer: text.slice(end) };
}

/** What the methods that learn from demonstrations take: of a preference its chosen side, as the paper does. */
export function demonstrationOf(row: Row): Exclude<Row, PreferenceRow> {
  if (row.kind !== 'preference') return row;
  const { id, chosen } = row;
  return 'prompt' in row
    ? { kind: 'prompt_response', id, prompt: row.prompt, response: chosen }
    : { kind: 'messages', id, messages: [...row.messages, { role: 'assistant', content: chosen }] };
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
