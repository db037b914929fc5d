// Chat templates give the text of transformers' apply_chat_template, byte for byte.

import assert from 'node:assert/strict';
import { ChatTemplate, chatTemplate } from '../../src/data/chat/template.js';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { assertRejects, sharedData, suite } from '../support/suite.js';
import { readTokenization, tinyTokenizer } from './golden.js';

const golden = readTokenization();
const data = sharedData();

function assertGolden(template: ChatTemplate, name: string): void {
  const chats = golden.chats.filter((chat) => chat.template === name);
  assert.ok(chats.length > 0);
  for (const { messages, add_generation_prompt, text } of chats) {
    const render = () => template.render(messages, { add_generation_prompt });
    if (text === null) assert.throws(render, JSON.stringify(messages));
    else assert.equal(render(), text, JSON.stringify(messages));
  }
}

suite('chat templates', (test) => {
  if (data !== undefined) {
    test("zephyr's own template", async () => {
      const tokenizer = await Tokenizer.load(`${data}/tokenizers/zephyr`);
      const template = chatTemplate('auto', tokenizer, '</s>');
      assert.ok(template);
      assertGolden(template, 'zephyr');
    });
  }
  test('our zephyr and ChatML layouts, for tokenizers that have no template', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    for (const [layout, name] of [
      ['auto', 'zephyr'],
      ['zephyr', 'zephyr'],
      ['chatml', 'chatml'],
    ] as const) {
      const template = chatTemplate(layout, tokenizer, '</s>');
      assert.ok(template);
      assertGolden(template, name);
    }
    assert.equal(chatTemplate('none', tokenizer, '</s>'), undefined);
  });
  test('templates in the manner of published ones', () => {
    for (const [name, source] of Object.entries(golden.templates))
      assertGolden(new ChatTemplate(source, golden.special_tokens, 'golden'), name);
  });
  test('a set layout wins over the own template', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces', { chat_template: 'own' });
    const render = (name: 'auto' | 'chatml') =>
      chatTemplate(name, tokenizer, '</s>')?.render([{ role: 'user', content: 'Hi' }], {
        add_generation_prompt: false,
      });
    assert.equal(render('auto'), 'own');
    assert.equal(render('chatml'), '<|im_start|>user\nHi<|im_end|>\n');
  });
  test('the zephyr layout refuses roles that it would leave out', async () => {
    const template = chatTemplate('zephyr', await tinyTokenizer('tiny-pieces'), '</s>');
    assert.throws(
      () => template?.render([{ role: 'tool', content: '1' }], { add_generation_prompt: false }),
      /no role tool/,
    );
  });
  test('a damaged template is refused with its file', async () => {
    await assertRejects(() => new ChatTemplate('{% for %}', {}, 'DIR'), 'ERR_GLEANER_DATA', /DIR: the chat template/);
  });
});
