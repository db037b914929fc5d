// Kinds of rows that stand for others: preferences in every shape they come in, what is trained of them, SPIN's pairs, cells that are null.

import assert from 'node:assert/strict';
import { RowEncoder } from '../../src/data/row_encoder.js';
import { demonstrationOf, parseRow, type Row } from '../../src/data/rows.js';
import { assertRejects, suite } from '../support/suite.js';
import { tinyTokenizer } from './golden.js';

const parse = (value: unknown): Row => parseRow({ place: { file: 'd.arrow', line: 3, unit: 'row' }, value }, 'd:3');
const refused = (value: unknown, message: RegExp) => assertRejects(() => parse(value), 'ERR_GLEANER_DATA', message);
const user = (content: string) => ({ role: 'user', content });
const assistant = (content: string) => ({ role: 'assistant', content });
const preference = (row: object) => ({ kind: 'preference', id: 'd:3', prompts_differ: false, ...row });

suite('preference rows', (test) => {
  test('a prompt and two texts', () => {
    assert.deepEqual(
      parse({ prompt: 'p', chosen: 'a', rejected: 'b' }),
      preference({ prompt: 'p', chosen: 'a', rejected: 'b' }),
    );
    assert.deepEqual(
      parse({ prompt: 'p', messages: null, chosen: 'a', rejected: 'b' }),
      preference({ prompt: 'p', chosen: 'a', rejected: 'b' }),
    );
  });
  test('messages and two answers, as messages or lists or texts', () => {
    const wanted = preference({ messages: [user('u')], chosen: 'a', rejected: 'b' });
    for (const as of [(text: string) => text, assistant, (text: string) => [assistant(text)]])
      assert.deepEqual(parse({ messages: [user('u')], chosen: as('a'), rejected: as('b') }), wanted);
  });
  test('whole chats, alone, beside their prompt, or beside the chosen one', () => {
    const wanted = preference({ messages: [user('u')], chosen: 'a', rejected: 'b' });
    const sides = { chosen: [user('u'), assistant('a')], rejected: [user('u'), assistant('b')] };
    assert.deepEqual(parse(sides), wanted);
    assert.deepEqual(parse({ prompt: 'u', ...sides }), wanted);
    assert.deepEqual(parse({ messages: sides.chosen, ...sides }), wanted);
    assert.deepEqual(parse({ prompt: 'u', chosen: [assistant('a')], rejected: [assistant('b')] }), wanted);
  });
  test('sides that answer to something else: the chosen prompt stands, and it is told', () => {
    const row = parse({ chosen: [user('u'), assistant('a')], rejected: [user('v'), assistant('b')] });
    assert.deepEqual(row, {
      ...preference({ messages: [user('u')], chosen: 'a', rejected: 'b' }),
      prompts_differ: true,
    });
  });
  test('transcripts are cut at the last answer, the mark stays with the prompt', () => {
    const before = '\n\nHuman: one\n\nAssistant: two\n\nHuman: three\n\nAssistant:';
    assert.deepEqual(
      parse({ chosen: `${before} yes`, rejected: `${before} no` }),
      preference({ prompt: before, chosen: ' yes', rejected: ' no' }),
    );
    const other = parse({ chosen: `${before} yes`, rejected: '\n\nHuman: else\n\nAssistant: no' });
    assert.ok(other.kind === 'preference' && other.prompts_differ && 'prompt' in other && other.prompt === before);
  });
  test('what is wrong is named', async () => {
    await refused({ chosen: 'a', rejected: 'b' }, /d\.arrow, row 3: chosen is "a", and there is no prompt/);
    await refused({ chosen: '\n\nHuman: u', rejected: 'b' }, /chosen is " Human: u"/);
    await refused({ prompt: 'p', chosen: 'a' }, /rejected is missing: expected a string, a message/);
    await refused({ prompt: 'p', chosen: 3, rejected: 'b' }, /chosen is 3: expected a string/);
    await refused({ prompt: 'p', chosen: [user('a')], rejected: 'b' }, /chosen ends with a message of "user"/);
    await refused({ chosen: [assistant('a')], rejected: [assistant('b')] }, /an answer without what it answers/);
    await refused({ prompt: 3, chosen: 'a', rejected: 'b' }, /prompt is 3/);
  });
  test('methods that learn from demonstrations take the chosen side', () => {
    assert.deepEqual(demonstrationOf(parse({ id: 'x', prompt: 'p', chosen: 'a', rejected: 'b' })), {
      kind: 'prompt_response',
      id: 'x',
      prompt: 'p',
      response: 'a',
    });
    assert.deepEqual(demonstrationOf(parse({ messages: [user('u')], chosen: 'a', rejected: 'b' })), {
      kind: 'messages',
      id: 'd:3',
      messages: [user('u'), assistant('a')],
    });
    const text: Row = { kind: 'text', id: 't', text: 'x' };
    assert.equal(demonstrationOf(text), text);
  });
});

suite('what is trained of a preference', (test) => {
  test('the ids of its chosen side, and its prompt', async () => {
    const encoder = new RowEncoder(await tinyTokenizer('tiny-bytes'), {
      template: 'zephyr',
      bos: 'auto',
      max_length: 512,
      max_prompt_length: 128,
      max_new_tokens: null,
      eos_token_id: 2,
      vocab: 2 ** 20,
      paper_compat: false,
    });
    for (const row of [
      { prompt: 'the prompt', chosen: ' yes', rejected: ' no' },
      { messages: [user('one'), assistant('two'), user('three')], chosen: 'yes', rejected: 'no' },
    ]) {
      const preference = parse(row);
      const other = parse({ ...row, rejected: 'something else' });
      const parts = encoder.encode(preference);
      assert.ok('response_ids' in parts && parts.response_ids.length > 1);
      assert.deepEqual(parts, encoder.encode(demonstrationOf(preference)));
      assert.deepEqual(parts, encoder.encode(other));
      assert.deepEqual(encoder.encodePrompt(preference), encoder.encodePrompt(demonstrationOf(preference)));
    }
  });
});

suite('other rows', (test) => {
  test('SPIN pairs are the chats of their real side', () => {
    assert.deepEqual(parse({ id: 1, real: [user('u'), assistant('a')], generated: [user('u'), assistant('b')] }), {
      kind: 'messages',
      id: '1',
      messages: [user('u'), assistant('a')],
    });
  });
  test('cells that are null do not tell a kind, unless nothing else does', async () => {
    assert.equal(
      parse({ prompt: 'p', response: 'r', messages: null, chosen: null, text: null, prompt_ids: null }).kind,
      'prompt_response',
    );
    assert.equal(parse({ prompt: null, messages: [user('u')] }).kind, 'messages');
    await refused({ messages: null }, /messages is null/);
    await refused({ prompt: 'p', response: null }, /response is null/);
    await refused({ prompt_ids: null, response_ids: [1] }, /prompt_ids is null/);
  });
  test('ids beyond what a double holds', () => {
    assert.equal(parse({ id: 2n ** 60n, text: 't' }).id, '1152921504606846976');
  });
});
