// The rules of method.md, section 6, row kind by row kind, against ids that Python makes by the same rules (test/golden/make/tokenization.py).

import assert from 'node:assert/strict';
import { readRows } from '../../src/data/readers.js';
import type { Row } from '../../src/data/rows.js';
import { RowTokenizer, type TokenizedRow, type TokenizeSettings } from '../../src/data/tokenize.js';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { assertRejects, sharedData, suite } from '../support/suite.js';
import { readTokenization, tinyTokenizer } from './golden.js';

const golden = readTokenization();
const data = sharedData();

const settings: TokenizeSettings = {
  template: 'auto',
  bos: 'auto',
  max_length: 512,
  max_prompt_length: 128,
  max_new_tokens: 256,
  eos_token_id: 2,
  vocab: 2 ** 20,
  paper_compat: false,
};
const [prompt, response] = golden.story;
const story: Row = { kind: 'prompt_response', id: 's', prompt, response };
const chat: Row = { kind: 'messages', id: 'c', messages: golden.chat };
const text: Row = { kind: 'text', id: 't', text: prompt };

const ids = (row: TokenizedRow | undefined) => row && { prompt_ids: row.prompt_ids, response_ids: row.response_ids };
const one = (tokenizer: Tokenizer | undefined, row: Row, changes: Partial<TokenizeSettings> = {}) =>
  ids(new RowTokenizer(tokenizer, { ...settings, ...changes }).tokenize(row));

/** The reason for which a row is dropped. */
function dropped(tokenizer: Tokenizer | undefined, row: Row, changes: Partial<TokenizeSettings> = {}): string {
  const rows = new RowTokenizer(tokenizer, { ...settings, ...changes });
  assert.equal(rows.tokenize(row), undefined);
  const [reason = ''] = Object.keys(rows.counts.dropped);
  assert.deepEqual(rows.counts, { read: 1, kept: 0, prompts_cut: 0, responses_cut: 0, dropped: { [reason]: 1 } });
  assert.match(rows.firstDropped[reason] ?? '', new RegExp(`^row ${row.id}: .`));
  return reason;
}

suite('golden rows', (test) => {
  const eos: Record<string, number> = { stories260K: 2, pythia: 0, zephyr: 2 };
  const folders: Record<string, string> = {
    stories260K: 'models/stories260K',
    pythia: 'tokenizers/pythia',
    zephyr: 'tokenizers/zephyr',
  };
  for (const [name, wanted] of Object.entries(golden.rows)) {
    if (data === undefined) break;
    test(`${name}: default and paper_compat`, async () => {
      const tokenizer = await Tokenizer.load(`${data}/${folders[name]}`);
      const own = { eos_token_id: eos[name] ?? -1 };
      const compat: Partial<TokenizeSettings> = { ...own, paper_compat: true };
      assert.deepEqual(one(tokenizer, story, own), wanted.prompt_response);
      assert.deepEqual(one(tokenizer, text, own), wanted.text);
      // The released code puts no BOS anywhere.
      assert.deepEqual(one(tokenizer, story, { ...compat, bos: 'never' }), wanted.prompt_response_compat);
      if (wanted.messages === undefined) return;
      assert.deepEqual(one(tokenizer, chat, own), wanted.messages);
      assert.deepEqual(one(tokenizer, chat, compat), wanted.messages_compat);
      assert.deepEqual(wanted.messages.response_ids.slice(-2).includes(13), false, 'ends at the EOS');
      assert.deepEqual(wanted.messages_compat?.response_ids.slice(-3), [2, 13, 2], 'EOS \\n EOS');
    });
  }
  if (data !== undefined) {
    test('the ids of prompt and response are those of the whole story, in every row', async () => {
      const tokenizer = await Tokenizer.load(`${data}/models/stories260K`);
      const rows = new RowTokenizer(tokenizer, { ...settings, max_length: 4096 });
      for await (const row of readRows([`${data}/demo/tinystories_dev.jsonl`], { format: 'auto', limit: null })) {
        if (row.kind !== 'prompt_response') throw new Error(row.kind);
        const found = rows.tokenize(row);
        const whole = [1, ...tokenizer.encode(row.prompt + row.response), 2];
        assert.deepEqual([...(found?.prompt_ids ?? []), ...(found?.response_ids ?? [])], whole, row.id);
        assert.equal(tokenizer.decodeAfter(found?.prompt_ids ?? [], found?.response_ids ?? []), row.response);
      }
      assert.deepEqual(rows.counts, { read: 444, kept: 444, prompts_cut: 0, responses_cut: 0, dropped: {} });
    });
  }
});

suite('BOS', (test) => {
  const starts = async (bos: TokenizeSettings['bos'], row: Row, config: object = {}) => {
    const found = one(await tinyTokenizer('tiny-pieces', config), row, { bos });
    return found?.prompt_ids.slice(0, 2).map((id) => (id === 1 ? 'BOS' : 'x'));
  };
  test('auto puts it where the tokenizer does, before prompts and texts', async () => {
    assert.deepEqual(await starts('auto', story), ['BOS', 'x']);
    assert.deepEqual(await starts('auto', text), ['BOS']);
    assert.deepEqual(await starts('auto', story, { add_bos_token: false }), ['x', 'x']);
  });
  test('it is never doubled', async () => {
    const own: Row = { kind: 'prompt_response', id: 'o', prompt: `<s>${prompt}`, response };
    assert.deepEqual(await starts('auto', own), ['BOS', 'x']);
    assert.deepEqual(await starts('always', own), ['BOS', 'x']);
    const bosInTemplate = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}";
    assert.deepEqual(await starts('always', chat, { chat_template: bosInTemplate }), ['BOS', 'x']);
  });
  test('a template decides for chats; always wins', async () => {
    assert.deepEqual(await starts('auto', chat), ['x', 'x']);
    assert.deepEqual(await starts('always', chat), ['BOS', 'x']);
    assert.deepEqual(await starts('never', story), ['x', 'x']);
    const bosInTemplate = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}";
    assert.deepEqual(await starts('never', chat, { chat_template: bosInTemplate }), ['BOS', 'x']);
  });
  test('ids are left alone', async () => {
    const row: Row = { kind: 'ids', id: 'i', prompt_ids: [5], response_ids: [6] };
    assert.deepEqual(one(await tinyTokenizer('tiny-pieces'), row, { bos: 'always' }), {
      prompt_ids: [5],
      response_ids: [6],
    });
  });
  test('always needs one', async () => {
    const tokenizer = await tinyTokenizer('tiny-bytes');
    await assertRejects(
      () => new RowTokenizer(tokenizer, { ...settings, bos: 'always' }),
      'ERR_GLEANER_DATA',
      /has no BOS/,
    );
  });
});

suite('EOS', (test) => {
  const ends = async (row: Row, changes: Partial<TokenizeSettings> = {}, config: object = {}) =>
    one(await tinyTokenizer('tiny-pieces', config), row, changes)
      ?.response_ids.slice(-2)
      .map((id) => (id === 2 ? 'EOS' : 'x'));
  test('it ends demonstrations, and is never doubled', async () => {
    assert.deepEqual(await ends(story), ['x', 'EOS']);
    assert.deepEqual(await ends(text), ['x', 'EOS']);
    assert.deepEqual(await ends({ kind: 'prompt_response', id: 'o', prompt, response: `${response}</s>` }), [
      'x',
      'EOS',
    ]);
    assert.deepEqual(await ends({ kind: 'ids', id: 'i', prompt_ids: [5], response_ids: [6, 7] }), ['x', 'x']);
  });
  test('a templated answer ends at its own EOS; without one EOS is appended', async () => {
    assert.deepEqual(await ends(chat), ['x', 'EOS']);
    assert.deepEqual(await ends(chat, { template: 'chatml' }), ['x', 'EOS']);
    const inner = [...golden.chat.slice(0, -1), { role: 'assistant', content: 'a </s> b' }];
    assert.deepEqual(await ends({ kind: 'messages', id: 'm', messages: inner }), ['x', 'EOS']);
  });
  test('template none: messages line by line, BOS and EOS as in plain rows', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const found = one(tokenizer, chat, { template: 'none' });
    assert.equal(tokenizer.decode(found?.prompt_ids ?? []), 'What is a fox?\nAn animal.\nWhich colour?\n');
    assert.equal(tokenizer.decode(found?.response_ids ?? []), "Red, mostly. It's small.");
    assert.deepEqual([found?.prompt_ids[0], found?.response_ids.at(-1)], [1, 2]);
  });
});

suite('rows that are dropped', (test) => {
  test('each by its reason', async () => {
    const pieces = await tinyTokenizer('tiny-pieces');
    const bytes = await tinyTokenizer('tiny-bytes');
    const messages = (...all: [role: string, content: string][]): Row => ({
      kind: 'messages',
      id: 'm',
      messages: all.map(([role, content]) => ({ role, content })),
    });
    assert.equal(dropped(pieces, { ...story, response: '' }), 'empty_response');
    assert.equal(dropped(bytes, { ...story, prompt: '' }), 'empty_prompt');
    assert.equal(one(pieces, { ...story, prompt: '' })?.prompt_ids.length, 1, 'BOS is a prompt');
    assert.equal(dropped(pieces, { ...text, text: '' }), 'empty_response');
    assert.equal(dropped(bytes, { ...text, text: 'a' }), 'empty_response');
    assert.equal(dropped(undefined, { kind: 'ids', id: 'i', prompt_ids: [], response_ids: [1] }), 'empty_prompt');
    assert.equal(dropped(undefined, { kind: 'ids', id: 'i', prompt_ids: [1], response_ids: [] }), 'empty_response');
    assert.equal(dropped(pieces, messages(['user', 'Hi'])), 'no_assistant_answer');
    assert.equal(dropped(pieces, messages(['user', 'Hi'], ['assistant', 'a'], ['user', 'b'])), 'no_assistant_answer');
    assert.equal(dropped(pieces, messages(['user', 'Hi'], ['assistant', ''])), 'empty_response');
    assert.equal(dropped(pieces, messages(['tool', 'Hi'], ['assistant', 'a'])), 'refused_by_template');
    assert.equal(dropped(pieces, messages(['assistant', 'a'])), 'empty_prompt');
    assert.equal(dropped(pieces, story, { max_length: 8, max_prompt_length: 8 }), 'no_room');
    const changing = await tinyTokenizer('tiny-pieces', { chat_template: '{{ messages | length }}' });
    assert.equal(dropped(changing, chat), 'prompt_not_a_prefix');
  });
  test('paper_compat takes the first exchange, wherever the conversation ends', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const longer: Row = { kind: 'messages', id: 'm', messages: [...golden.chat, { role: 'user', content: 'More?' }] };
    const compat = { paper_compat: true };
    assert.deepEqual(one(tokenizer, longer, compat), one(tokenizer, chat, compat));
    const alone: Row = { kind: 'messages', id: 'm', messages: golden.chat.slice(1, 3) };
    assert.equal(dropped(tokenizer, alone, compat), 'no_assistant_answer');
  });
});

suite('paper_compat', (test) => {
  const compat = { paper_compat: true };
  test('EOS is appended behind whatever is there', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const ends = (row: Row, changes: object = compat) => one(tokenizer, row, changes)?.response_ids.slice(-2);
    assert.deepEqual(ends({ kind: 'prompt_response', id: 'o', prompt, response: `${response}</s>` }), [2, 2]);
    assert.deepEqual(ends({ kind: 'ids', id: 'i', prompt_ids: [5], response_ids: [6, 7] }), [6, 7], 'but ids stay');
  });
  test('a system message stays; without one there is an empty one', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const textOf = (messages: typeof golden.chat) => {
      const rows = new RowTokenizer(tokenizer, { ...settings, ...compat });
      return rows.prompt({ kind: 'messages', id: 'm', messages })?.prompt;
    };
    const system = { role: 'system', content: 'Be brief.' };
    assert.equal(textOf(golden.chat), '<|system|>\n</s>\n<|user|>\nWhat is a fox?</s>\n<|assistant|>\n');
    const given = '<|system|>\nBe brief.</s>\n<|user|>\nWhat is a fox?</s>\n<|assistant|>\n';
    assert.equal(textOf([system, ...golden.chat]), given);
  });
});

suite('rows that are refused', (test) => {
  const refused = (
    tokenizer: Tokenizer | undefined,
    row: Row,
    message: RegExp,
    changes: Partial<TokenizeSettings> = {},
  ) => assertRejects(() => one(tokenizer, row, changes), 'ERR_GLEANER_DATA', message);
  test('a prompt alone cannot be trained', async () =>
    refused(
      await tinyTokenizer('tiny-pieces'),
      { kind: 'prompt', id: 'p', prompt },
      /row p: a prompt without a response/,
    ));
  test('ids that the model does not have', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    await refused(tokenizer, story, /row s: the token id \d+ \(".*"\) is not below the model's vocabulary of 200/, {
      vocab: 200,
    });
    await refused(undefined, { kind: 'ids', id: 'i', prompt_ids: [1], response_ids: [9] }, /row i: the token id 9 is/, {
      vocab: 9,
    });
    await refused(undefined, story, /EOS id 2 is not below/, { vocab: 2 });
  });
  test('a text of no sensible length', async () => {
    const long: Row = { kind: 'prompt_response', id: 'l', prompt, response: 'x'.repeat(2 ** 20 + 1) };
    await refused(await tinyTokenizer('tiny-pieces'), long, /row l: 1048577 characters in one text/);
  });
  test('text without a tokenizer; ids need none', async () => {
    await refused(undefined, story, /row s holds text, and there is no tokenizer/);
    await refused(undefined, chat, /row c holds text/);
    const row: Row = { kind: 'ids', id: 'i', prompt_ids: [1, 9], response_ids: [3] };
    assert.deepEqual(one(undefined, row), { prompt_ids: [1, 9], response_ids: [3] });
  });
});

suite('prompts for generation', (test) => {
  test('what stands before the response, of every kind', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const rows = new RowTokenizer(tokenizer, settings);
    const plain = { prompt, prompt_ids: [1, ...tokenizer.encode(prompt)] };
    assert.deepEqual(rows.prompt(story), { id: 's', ...plain });
    assert.deepEqual(rows.prompt({ kind: 'prompt', id: 'p', prompt }), { id: 'p', ...plain });
    assert.deepEqual(rows.prompt(text), { id: 't', prompt: '', prompt_ids: [1] });
    const before =
      '<|user|>\nWhat is a fox?</s>\n<|assistant|>\nAn animal.</s>\n<|user|>\nWhich colour?</s>\n<|assistant|>\n';
    const templated = { id: 'c', prompt: before, prompt_ids: tokenizer.encode(before) };
    assert.deepEqual(rows.prompt(chat), templated);
    assert.deepEqual(rows.prompt({ kind: 'messages', id: 'c', messages: golden.chat.slice(0, -1) }), templated);
    assert.deepEqual(rows.prompt({ kind: 'ids', id: 'i', prompt_ids: [5, 6], response_ids: [] })?.prompt_ids, [5, 6]);
    assert.equal(
      rows.prompt({ kind: 'messages', id: 'm', messages: [{ role: 'assistant', content: 'a' }] }),
      undefined,
    );
    assert.deepEqual(rows.counts, { read: 7, kept: 6, prompts_cut: 0, responses_cut: 0, dropped: { empty_prompt: 1 } });
  });
  test('the prompt of training and that of generation are the same ids', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    for (const paper_compat of [false, true]) {
      const all: Row[] = [story, chat, text];
      for (const row of all) {
        const rows = new RowTokenizer(tokenizer, { ...settings, paper_compat, max_new_tokens: 4, max_length: 512 });
        assert.deepEqual(rows.prompt(row)?.prompt_ids, rows.tokenize(row)?.prompt_ids);
      }
    }
  });
  test('one that leaves too little room is cut to its last tokens', async () => {
    const rows = new RowTokenizer(undefined, { ...settings, max_length: 10, max_prompt_length: 3, max_new_tokens: 6 });
    const promptIds = (length: number) =>
      rows.prompt({ kind: 'ids', id: 'i', prompt_ids: Array.from({ length }, (_, id) => id), response_ids: [] })
        ?.prompt_ids;
    assert.deepEqual(promptIds(4), [0, 1, 2, 3]);
    assert.deepEqual(promptIds(5), [2, 3, 4]);
    assert.equal(rows.counts.prompts_cut, 1);
  });
});
