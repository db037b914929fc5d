// Damaged tokenizer folders: tokenizer.json, tokenizer_config.json and chat_template.jinja. Each is loaded and works, or is refused with one
// GleanerError, soon.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { GleanerError } from '../../src/common/errors.js';
import { chatTemplate } from '../../src/data/chat/template.js';
import { endlessGroup } from '../../src/data/tokenizer/regex_check.js';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { inFolder, readTokenization } from '../data/golden.js';
import { assertRejects, suite } from '../support/suite.js';
import { mutate, mutation, strange } from './damage.js';

const golden = readTokenization();
const template = golden.templates.headers ?? '';
const config = {
  bos_token: '<s>',
  eos_token: { content: '</s>', special: true },
  clean_up_tokenization_spaces: false,
  add_bos_token: true,
  additional_special_tokens: ['<unk>'],
  added_tokens_decoder: { 2: { content: '</s>', special: true }, 700: { content: '<late>' } },
  chat_template: [{ name: 'default', template: golden.templates.chatml }],
};
const texts = ['', 'the fox  in\n 🙂 é', 'a</s><mask>\ufeff'];
const messages = [
  { role: 'user', content: 'the fox' },
  { role: 'assistant', content: 'in' },
];

interface Outcomes {
  loaded: number;
  refused: number;
  slowest: number;
}

/** Loads and uses it; anything but success and a GleanerError is thrown on. */
async function use(folder: string, outcomes: Outcomes): Promise<void> {
  const begun = performance.now();
  try {
    const tokenizer = await Tokenizer.load(folder);
    for (const text of texts) {
      const ids = tokenizer.encode(text);
      assert.ok(
        ids.every((id) => Number.isSafeInteger(id) && id >= 0 && id < tokenizer.vocab_size),
        `ids ${ids}`,
      );
      assert.equal(typeof tokenizer.decode(ids), 'string');
      tokenizer.encodeAfter('the', text);
    }
    const chat = chatTemplate('auto', tokenizer, '</s>');
    try {
      chat?.render(messages, { add_generation_prompt: true });
    } catch (error) {
      // What a template raises refuses a conversation, not the folder.
      assert.ok(error instanceof Error);
    }
    outcomes.loaded += 1;
  } catch (error) {
    if (!(error instanceof GleanerError)) throw error;
    assert.equal(error.code, 'ERR_GLEANER_DATA');
    assert.ok(error.message.includes(folder) && error.message.length < 700, error.message);
    outcomes.refused += 1;
  }
  outcomes.slowest = Math.max(outcomes.slowest, performance.now() - begun);
}

suite('damaged tokenizer folders', (test) => {
  for (const name of ['tiny-pieces', 'tiny-bytes'] as const) {
    const files: Record<string, string> = {
      'tokenizer.json': JSON.stringify(golden.tiny[name]?.tokenizer),
      'tokenizer_config.json': JSON.stringify(config),
    };
    for (const [file, content] of Object.entries(files)) {
      test(`${name}, ${file}: loaded or refused, never worse`, () =>
        inFolder(files, async (folder) => {
          const outcomes = { loaded: 0, refused: 0, slowest: 0 };
          const original = Buffer.from(content);
          const property = fc.asyncProperty(mutation, async (change) => {
            writeFileSync(join(folder, file), mutate(file, original, change));
            await use(folder, outcomes);
          });
          await fc.assert(property, { seed: 23, numRuns: 400 });
          assert.ok(outcomes.loaded >= 20 && outcomes.refused >= 80, JSON.stringify(outcomes));
          assert.ok(outcomes.slowest < 20_000, JSON.stringify(outcomes));
        }));
    }

    // A random place seldom hits the few keys that say how text is cut.
    test(`${name}: strange values for every key of every part`, () =>
      inFolder(files, async (folder) => {
        const outcomes = { loaded: 0, refused: 0, slowest: 0 };
        const parts = ['normalizer', 'pre_tokenizer', 'decoder', 'post_processor', 'model', 'added_tokens'];
        const tokenizer: Record<string, unknown> = { ...golden.tiny[name]?.tokenizer };
        const property = fc.asyncProperty(
          fc.constantFrom(...parts),
          fc.nat(30),
          strange,
          async (part, place, value) => {
            const changed = structuredClone(tokenizer);
            const inner = changed[part];
            const keys = typeof inner === 'object' && inner !== null ? Object.keys(inner) : [];
            const key = keys[place % (keys.length + 1)];
            if (key === undefined || typeof inner !== 'object' || inner === null) changed[part] = value;
            else Reflect.set(inner, key, value);
            writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(changed));
            await use(folder, outcomes);
          },
        );
        await fc.assert(property, { seed: 29, numRuns: 400 });
        assert.ok(outcomes.loaded >= 20 && outcomes.refused >= 80, JSON.stringify(outcomes));
      }));
  }

  test('chat templates: compiled and run, or refused', () => {
    const files = { 'tokenizer.json': golden.tiny['tiny-pieces']?.tokenizer, 'tokenizer_config.json': config };
    return inFolder(files, async (folder) => {
      const outcomes = { loaded: 0, refused: 0, slowest: 0 };
      const pieces = fc.constantFrom(
        '{%', '%}', '{{', '}}', '{#', '#}', '-', ' for m in messages ', ' endfor ', ' if ', ' endif ', ' set x = ', ' x ', "'", '(', ')', '[', ']', '|', ' tojson', ' length', ' macro f(a) ',
        ' endmacro ', ' f(1) ', '.', ',', ':', '~', '*', '**', '99999999', ' range(', ' in ', ' not ', ' is ', ' else ', 'messages', '\n', '\ud800', '\u0000', ' namespace(', 'loop.index', '{', '}',
      ); // biome-ignore format: a table
      const source = fc.oneof(
        fc.array(pieces, { maxLength: 40 }).map((list) => list.join('')),
        fc
          .tuple(fc.nat(template.length), fc.nat(30), pieces)
          .map(([at, skip, piece]) => template.slice(0, at) + piece + template.slice(at + skip)),
      );
      const property = fc.asyncProperty(source, async (text) => {
        writeFileSync(join(folder, 'chat_template.jinja'), text);
        await use(folder, outcomes);
      });
      await fc.assert(property, { seed: 31, numRuns: 600 });
      assert.ok(outcomes.loaded >= 20 && outcomes.refused >= 80, JSON.stringify(outcomes));
      assert.ok(outcomes.slowest < 20_000, JSON.stringify(outcomes));
    });
  });
});

suite('tokenizer folders made to do harm', (test) => {
  const tokenizer = golden.tiny['tiny-pieces']?.tokenizer ?? {};
  const refused = (files: Record<string, unknown>, message: RegExp) =>
    inFolder({ 'tokenizer.json': tokenizer, 'tokenizer_config.json': {}, ...files }, (folder) =>
      assertRejects(() => Tokenizer.load(folder), 'ERR_GLEANER_DATA', message),
    );
  const nested = (text: string) => `${text.repeat(100_000)}`;

  test('very deep JSON', async () => {
    for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
      await refused({ [file]: nested('[') }, /not JSON/);
      await refused({ [file]: nested('{"a":') }, /not JSON/);
    }
    const deep = `{"model":{"vocab":{"a":0},"merges":[]},"normalizer":${'{"type":"Sequence","normalizers":['.repeat(20_000)}${']}'.repeat(20_000)}}`;
    await refused({ 'tokenizer.json': deep }, /tokenizer\.json/);
  });
  test('bytes that are no text, and what is no file', async () => {
    for (const file of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja']) {
      await refused({ [file]: Uint8Array.of(0x7b, 0xff, 0xfe) }, new RegExp(`${file}: not UTF-8`));
      await inFolder({ 'tokenizer.json': tokenizer, 'tokenizer_config.json': {} }, async (folder) => {
        execFileSync('rm', ['-f', join(folder, file)]);
        execFileSync('mkfifo', [join(folder, file)]);
        await assertRejects(() => Tokenizer.load(folder), 'ERR_GLEANER_DATA', /not a regular file/);
        execFileSync('rm', [join(folder, file)]);
        mkdirSync(join(folder, file));
        await assertRejects(() => Tokenizer.load(folder), 'ERR_GLEANER_DATA', /this is a folder/);
      });
    }
  });
  test('regular expressions that take for ever', async () => {
    for (const Regex of ['(a+)+$', '([a-z]*)*x', '(?:a|a)+$', '((a{1,})b?){2,}$', '(\\s|\\s)*$'])
      await refused(
        {
          'tokenizer.json': {
            ...tokenizer,
            pre_tokenizer: { type: 'Split', pattern: { Regex }, behavior: 'Isolated' },
          },
        },
        /a repeated group/,
      );
  });
  test('regular expressions of published tokenizers are let through', () => {
    const published = [
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{M}]*[\\p{Ll}\\p{M}]+(?i:'s|'t)?|\\s+",
      ' ?[^(\\s|[.,!?…。，、।۔،])]+',
      '(?:ab)+c',
    ];
    for (const regex of published) assert.equal(endlessGroup(regex), undefined, regex);
  });
  test('ids beyond any vocabulary, and ids that are none', async () => {
    for (const id of [2 ** 31, 1e15, 1e300, -1, 0.5]) {
      const added = { ...tokenizer, added_tokens: [{ id, content: '<x>' }] };
      await refused({ 'tokenizer.json': added }, /tokenizer\.json/);
    }
  });
});
