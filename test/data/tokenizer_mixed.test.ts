// 10,000 mixed texts (scripts, emoji, marks, control characters, special tokens, long runs): ids and decoded texts are those of Python's
// tokenizers, compared by hash (test/golden/make/mixed_texts.py); and what is decoded in parts is what is decoded whole.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { goldenFolder } from '../golden/golden.js';
import { mixedTexts } from '../support/mixed_texts.js';
import { sharedData, suite } from '../support/suite.js';
import { inFolder, realTokenizers, tinyTokenizer } from './golden.js';

const golden = z
  .object({
    seed: z.int(),
    count: z.int(),
    block: z.int(),
    texts: z.array(z.string()),
    long: z.record(z.string(), z.tuple([z.string(), z.int()])),
    hashes: z.record(z.string(), z.array(z.string())),
    tiny_split: z.looseObject({}),
    long_hashes: z.record(z.string(), z.record(z.string(), z.string())),
  })
  .parse(JSON.parse(readFileSync(`${goldenFolder}mixed_texts.json`, 'utf8')));
const texts = mixedTexts(golden.seed, golden.count);
const blocks = golden.texts.map((_, place) => texts.slice(place * golden.block, (place + 1) * golden.block));
const data = sharedData();

function digest(lines: readonly string[], end: string): string {
  return createHash('sha256')
    .update(lines.map((line) => line + end).join(''))
    .digest('hex')
    .slice(0, 16);
}

function hashes(tokenizer: Tokenizer, block: readonly string[]): string {
  const ids = block.map((text) => tokenizer.encode(text));
  return [
    digest(
      ids.map((row) => row.join(' ')),
      '\n',
    ),
    digest(
      ids.map((row) => tokenizer.decode(row, { skip_special_tokens: false })),
      '\0',
    ),
    digest(
      ids.map((row) => tokenizer.decode(row)),
      '\0',
    ),
  ].join(' ');
}

const loaders: Record<string, () => Promise<Tokenizer>> = {
  'tiny-bytes': () => tinyTokenizer('tiny-bytes'),
  'tiny-pieces': () => tinyTokenizer('tiny-pieces'),
  'tiny-split': () =>
    inFolder(
      { 'tokenizer.json': golden.tiny_split, 'tokenizer_config.json': { eos_token: '<|eos|>' } },
      Tokenizer.load,
    ),
};
if (data !== undefined) {
  for (const [name, folder] of Object.entries(realTokenizers))
    loaders[name] = () => Tokenizer.load(`${data}/${folder}`);
  loaders['mistral-legacy'] = () => {
    const json: unknown = JSON.parse(readFileSync(`${data}/tokenizers/mistral/tokenizer.json`, 'utf8'));
    const always = z.looseObject({ pre_tokenizer: z.looseObject({}) }).parse(json);
    always.pre_tokenizer.prepend_scheme = 'always';
    return inFolder({ 'tokenizer.json': always, 'tokenizer_config.json': {} }, Tokenizer.load);
  };
}

suite('mixed texts', (test) => {
  test('are the texts that the hashes were made of', () => {
    // UTF-8 of a half surrogate is U+FFFD.
    assert.deepEqual(
      blocks.map((block) => digest(block, '\0')),
      golden.texts,
    );
  });

  for (const [name, loader] of Object.entries(loaders)) {
    let loaded: Promise<Tokenizer> | undefined;
    const load = () => (loaded ??= loader());

    test(`${name}: ids and texts of Python for ${golden.count} texts`, async () => {
      const tokenizer = await load();
      const wrong = blocks.flatMap((block, place) =>
        hashes(tokenizer, block) === golden.hashes[name]?.[place] ? [] : [place],
      );
      assert.deepEqual(wrong, [], 'blocks that differ');
    });

    test(`${name}: ids and texts of Python for very long words, runs and texts`, async () => {
      const tokenizer = await load();
      for (const [kind, [text, times]] of Object.entries(golden.long))
        assert.equal(hashes(tokenizer, [text.repeat(times)]), golden.long_hashes[name]?.[kind], kind);
    });

    test(`${name}: text that is decoded in parts is the text that is decoded whole`, async () => {
      const tokenizer = await load();
      for (const [place, text] of texts.slice(0, 500).entries()) {
        const ids = tokenizer.encode(text);
        const whole = tokenizer.decode(ids);
        const stream = tokenizer.textStream();
        assert.equal(ids.map((id) => stream.push(id)).join('') + stream.end(), whole, JSON.stringify(text));
        const cut = place % (ids.length + 1);
        const [before, after] = [ids.slice(0, cut), ids.slice(cut)];
        // Where the cut goes through a character, its first half is U+FFFD in the one part alone.
        const head = tokenizer.decode(before);
        if (whole.startsWith(head))
          assert.equal(head + tokenizer.decodeAfter(before, after), whole, `${JSON.stringify(text)} after ${cut} ids`);
      }
    });

    test(`${name}: a text that goes on has the ids that it has in the whole`, async () => {
      const tokenizer = await load();
      let compared = 0;
      for (let place = 0; place + 1 < 1000; ++place) {
        // Behind a letter: an added token there could take white space of the text in.
        const [before, text] = [`${texts[place]}a`, texts[place + 1] ?? ''];
        const ids = tokenizer.encode(before);
        const whole = tokenizer.encode(before + text);
        // A text can change what stands before it; WORD is a token only where no letter stands before it.
        if (/^ ?WORD/.test(text) || !ids.every((id, at) => whole[at] === id)) continue;
        assert.deepEqual(tokenizer.encodeAfter(before, text), whole.slice(ids.length), JSON.stringify([before, text]));
        compared += 1;
      }
      assert.ok(compared > 750, `${compared} were compared`);
    });
  }
});
