// Thousands of conversations, rendered as transformers' apply_chat_template renders them (test/golden/make/chats.py), with and without a system
// message and the generation prompt.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ChatTemplate, chatTemplate } from '../../src/data/chat/template.js';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { goldenFolder } from '../golden/golden.js';
import { sharedData, suite } from '../support/suite.js';
import { tinyTokenizer } from './golden.js';

const message = z.object({ role: z.string(), content: z.string() });
type Message = z.infer<typeof message>;
const golden = z
  .object({
    block: z.int(),
    system: message,
    hashes: z.record(z.string(), z.array(z.string())),
    templates: z.record(z.string(), z.string()),
    tricky: z.array(
      z.object({ messages: z.array(message), texts: z.record(z.string(), z.tuple([z.string(), z.string()])) }),
    ),
  })
  .parse(JSON.parse(readFileSync(`${goldenFolder}chats.json`, 'utf8')));
const row = z.looseObject({ messages: z.array(message), chosen: message.optional() });
const data = sharedData();

function variants(messages: readonly Message[]): [chat: readonly Message[], add_generation_prompt: boolean][] {
  const starts = messages[0]?.role === 'system' ? [messages] : [messages, [golden.system, ...messages]];
  return starts.flatMap((start): [readonly Message[], boolean][] =>
    start.length > 1
      ? [
          [start, false],
          [start.slice(0, -1), true],
        ]
      : [[start, false]],
  );
}

/** zephyr's template from its file (in the golden file too), and our layouts for tokenizers that have none. */
async function templatesOf(name: string): Promise<Record<string, ChatTemplate>> {
  const own = new ChatTemplate(golden.templates[name] ?? '', { bos_token: '<s>', eos_token: '</s>' }, name);
  const layout = name === 'zephyr' ? 'zephyr' : 'chatml';
  const ours = chatTemplate(layout, await tinyTokenizer('tiny-pieces'), '</s>');
  assert.ok(ours);
  const templates: Record<string, ChatTemplate> = { own, ours };
  if (name === 'zephyr' && data !== undefined) {
    const shipped = chatTemplate('auto', await Tokenizer.load(`${data}/tokenizers/zephyr`), '</s>');
    assert.ok(shipped);
    templates.shipped = shipped;
  }
  return templates;
}

suite('conversations', (test) => {
  for (const name of Object.keys(golden.templates)) {
    test(`${name}: tricky ones`, async () => {
      for (const [which, template] of Object.entries(await templatesOf(name))) {
        for (const { messages, texts } of golden.tricky) {
          // Our zephyr layout refuses roles that zephyr's own leaves out.
          if (which === 'ours' && name === 'zephyr' && messages.some(({ role }) => role === 'tool')) continue;
          const found = [false, true].map((add_generation_prompt) =>
            template.render(messages, { add_generation_prompt }),
          );
          assert.deepEqual(found, texts[name], `${which}: ${JSON.stringify(messages)}`);
        }
      }
    });
  }
  if (data === undefined) return;
  for (const [key, wanted] of Object.entries(golden.hashes)) {
    test(key, async () => {
      const [name = '', file = ''] = key.split(' ');
      const lines = readFileSync(`${data}/chat/${file}`, 'utf8').trim().split('\n');
      const chats = lines.map((line) => {
        const { messages, chosen } = row.parse(JSON.parse(line));
        return chosen === undefined ? messages : [...messages, chosen];
      });
      for (const [which, template] of Object.entries(await templatesOf(name))) {
        // The others are the same text, or differ in white space only: a few blocks tell.
        const blocks = wanted.slice(0, which === 'own' ? wanted.length : 3);
        const found = blocks.map((_, place) => {
          const hash = createHash('sha256');
          for (const messages of chats.slice(place * golden.block, (place + 1) * golden.block))
            for (const [chat, add_generation_prompt] of variants(messages))
              hash.update(`${template.render(chat, { add_generation_prompt })}\0`);
          return hash.digest('hex').slice(0, 16);
        });
        assert.deepEqual(found, blocks, which);
      }
    });
  }
});
