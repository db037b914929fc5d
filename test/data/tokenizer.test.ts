// Ids and texts are those of Python's tokenizers; files that are damaged are refused with a reason.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { assertRejects, sharedData, suite } from '../support/suite.js';
import { type Described, inFolder, readTokenization, realTokenizers, tinyTokenizer } from './golden.js';

const golden = readTokenization();
const data = sharedData();

function assertGolden(tokenizer: Tokenizer, texts: readonly string[], wanted: Described): void {
  assert.equal(tokenizer.vocab_size, wanted.vocab_size);
  for (const [place, text] of texts.entries())
    assert.deepEqual(tokenizer.encode(text), wanted.ids[place], `ids of ${JSON.stringify(text)}`);
  for (const [place, ids] of [...wanted.ids, ...wanted.odd_ids].entries()) {
    assert.equal(tokenizer.decode(ids, { skip_special_tokens: false }), wanted.decoded[place], `text of [${ids}]`);
    assert.equal(tokenizer.decode(ids), wanted.decoded_plain[place], `text without special tokens of [${ids}]`);
  }
}

function stream(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const texts = tokenizer.textStream();
  return [...ids.map((id) => texts.push(id)), texts.end()];
}

suite('tokenizers, golden', (test) => {
  for (const [name, folder] of Object.entries(realTokenizers)) {
    if (data === undefined) break;
    test(`${name}: ids and texts of Python`, async () => {
      const wanted = golden.real[name];
      assert.ok(wanted);
      assertGolden(await Tokenizer.load(`${data}/${folder}`), golden.texts, wanted);
    });
  }
  for (const name of ['tiny-bytes', 'tiny-pieces'] as const) {
    test(`${name}: ids and texts of Python, odd added tokens too`, async () => {
      const wanted = golden.tiny[name];
      assert.ok(wanted);
      assertGolden(await tinyTokenizer(name), [...golden.texts, ...golden.odd_texts], wanted);
    });
  }
});

suite('tokenizer', (test) => {
  if (data !== undefined) {
    test('special tokens, templates and BOS are what the files say', async () => {
      const facts = async (folder: string) => {
        const { bos_token_id, eos_token_id, adds_bos, chat_template } = await Tokenizer.load(`${data}/${folder}`);
        return [bos_token_id, eos_token_id, adds_bos, chat_template !== undefined];
      };
      assert.deepEqual(await facts('tokenizers/pythia'), [0, 0, false, false]);
      assert.deepEqual(await facts('tokenizers/gpt2'), [50256, 50256, false, false]);
      assert.deepEqual(await facts('tokenizers/mistral'), [1, 2, true, false]);
      assert.deepEqual(await facts('tokenizers/zephyr'), [1, 2, true, true]);
      assert.deepEqual(await facts('models/stories260K'), [1, 2, true, false]);
    });
  }

  test('BOS: add_bos_token decides, without it the post-processor', async () => {
    assert.equal((await tinyTokenizer('tiny-pieces')).adds_bos, true);
    assert.equal((await tinyTokenizer('tiny-pieces', { add_bos_token: false })).adds_bos, false);
    assert.equal((await tinyTokenizer('tiny-bytes', { add_bos_token: true })).adds_bos, false, 'it has none');
    const doubled = await tinyTokenizer('tiny-bytes', { bos_token: '<|eos|>', add_bos_token: true });
    assert.deepEqual([doubled.adds_bos, doubled.bos_token_id, doubled.eos_token_id], [true, 0, 0]);
  });

  test('a token may be an object; one that is not in the vocabulary has no id', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces', { bos_token: { content: '</s>' }, eos_token: '<nowhere>' });
    assert.deepEqual([tokenizer.bos_token_id, tokenizer.eos_token_id], [2, undefined]);
  });

  test('added tokens that only tokenizer_config.json has count', async () => {
    const added_tokens_decoder = { 999: { content: '<new>', special: true }, 1: { content: '<s>', special: true } };
    const tokenizer = await tinyTokenizer('tiny-pieces', { added_tokens_decoder });
    assert.equal(tokenizer.vocab_size, 1000);
    assert.deepEqual(tokenizer.encode('<new>'), [999]);
    assert.equal(tokenizer.decode([999]), '');
    assert.equal(tokenizer.decode([500, 999, -1, 2.5], { skip_special_tokens: false }), '<new>', 'ids without a token');
  });

  test('half of a surrogate pair becomes U+FFFD', async () => {
    const tokenizer = await tinyTokenizer('tiny-bytes');
    assert.deepEqual(tokenizer.encode('a\ud83dz'), tokenizer.encode('a\ufffdz'));
    assert.deepEqual(tokenizer.encode('\ude42'), tokenizer.encode('\ufffd'));
  });

  test('a very long text is encoded, one of no sensible length refused', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const long = 'in the ing '.repeat(20_000);
    assert.equal(tokenizer.decode(tokenizer.encode(long)), long);
    await assertRejects(() => tokenizer.encode('x'.repeat(2 ** 20 + 1)), 'ERR_GLEANER_DATA', /1048577 characters/);
  });

  test('a text that goes on has no space of a start', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const whole = (before: string, text: string) =>
      tokenizer.encode(before + text).slice(tokenizer.encode(before).length);
    for (const text of [' the in', 'the', '\nthe', '  the', '🙂', 'in</s> the'])
      assert.deepEqual(tokenizer.encodeAfter('x.', text), whole('x.', text), JSON.stringify(text));
    assert.deepEqual(tokenizer.encodeAfter('', 'the'), tokenizer.encode('the'), 'after nothing it starts');
    assert.deepEqual(
      tokenizer.encodeAfter('x</s>', 'the'),
      whole('x</s>', 'the'),
      'after an added token it starts too',
    );
    const bytes = await tinyTokenizer('tiny-bytes');
    assert.deepEqual(bytes.encodeAfter('x.', ' the'), bytes.encode(' the'));
  });

  test('decodeAfter keeps the space that decode takes from a start', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const ids = tokenizer.encodeAfter('x', ' the 🙂 in');
    assert.equal(tokenizer.decode(ids), 'the 🙂 in');
    assert.equal(tokenizer.decodeAfter(tokenizer.encode('x'), ids), ' the 🙂 in');
  });
});

suite('text stream', (test) => {
  test('a character comes out whole, with the id that completes it', async () => {
    const tokenizer = await tinyTokenizer('tiny-bytes');
    const ids = tokenizer.encode('a🙂é');
    const pieces = stream(tokenizer, ids);
    assert.deepEqual(
      pieces.filter((piece) => piece !== ''),
      ['a', '🙂', 'é'],
    );
    assert.deepEqual(stream(tokenizer, ids.slice(0, -1)).at(-1), '\ufffd', 'the end gives what never was completed');
  });

  for (const name of ['tiny-bytes', 'tiny-pieces'] as const) {
    test(`${name}: the pieces are the text, and none ends in half a character`, async () => {
      const tokenizer = await tinyTokenizer(name);
      fc.assert(
        fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), (text) => {
          fc.pre(!text.includes('\ufffd'));
          const ids = tokenizer.encode(text);
          const pieces = stream(tokenizer, ids);
          assert.equal(pieces.join(''), tokenizer.decode(ids));
          assert.ok(pieces.every((piece) => !piece.includes('\ufffd')));
        }),
        { seed: 7, numRuns: 200 },
      );
    });
  }
});

suite('tokenizer files', (test) => {
  const good = golden.tiny['tiny-pieces']?.tokenizer ?? {};
  const refused = (files: Record<string, unknown>, message: RegExp) =>
    inFolder(files, async (folder) => {
      const error = await assertRejects(() => Tokenizer.load(folder), 'ERR_GLEANER_DATA', message);
      assert.ok('hint' in error && typeof error.hint === 'string' && error.hint !== '', `${error.message}: no hint`);
    });
  const config = { 'tokenizer_config.json': {} };

  test('missing files', async () => {
    await refused({}, /tokenizer\.json: there is no such file/);
    await refused({ 'tokenizer.json': good }, /tokenizer_config\.json: there is no such file/);
  });
  test('damaged files', async () => {
    const cut = JSON.stringify(good).slice(0, 5000);
    await refused({ 'tokenizer.json': cut, ...config }, /tokenizer\.json: not JSON/);
    await refused({ 'tokenizer.json': [], ...config }, /tokenizer\.json: the file/);
    await refused({ 'tokenizer.json': { ...good, model: {} }, ...config }, /model\.vocab is missing/);
    await refused({ 'tokenizer.json': { ...good, model: { vocab: { a: -1 } } }, ...config }, /the id of "a" is -1/);
    await refused({ 'tokenizer.json': { model: { vocab: { a: 1e12 }, merges: [] } }, ...config }, /no token id/);
    await refused({ 'tokenizer.json': { model: { type: 'BPE', vocab: {}, merges: [] } }, ...config }, /vocab is empty/);
    await refused({ 'tokenizer.json': { model: { vocab: { a: 0 }, merges: ['a'] } }, ...config }, /merges\[0\]/);
    await refused({ 'tokenizer.json': { ...good, decoder: { type: 'Nonsense' } }, ...config }, /Nonsense/);
    await refused({ 'tokenizer.json': good, 'tokenizer_config.json': { add_bos_token: 'yes' } }, /add_bos_token/);
    await refused({ 'tokenizer.json': good, 'tokenizer_config.json': '{' }, /tokenizer_config\.json: not JSON/);
  });
  test('chat_template.jinja wins over tokenizer_config.json; a list of templates has a default', async () => {
    const template = (files: Record<string, unknown>) =>
      inFolder(
        { 'tokenizer.json': good, ...config, ...files },
        async (folder) => (await Tokenizer.load(folder)).chat_template?.source,
      );
    assert.equal(await template({}), undefined);
    const named = [
      { name: 'tool_use', template: 'A' },
      { name: 'default', template: 'B' },
    ];
    assert.equal(await template({ 'tokenizer_config.json': { chat_template: named } }), 'B');
    assert.equal(await template({ 'tokenizer_config.json': { chat_template: 'C' }, 'chat_template.jinja': 'D' }), 'D');
  });
});
