// Each cure of src/data/tokenizer/tokenizer_fixes.ts: what Python's tokenizers give (from the golden file), that we give it, and that the library alone
// does not. When the last of these fails after an update, the cure can go.

import assert from 'node:assert/strict';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import { splitsAtWords } from '../../src/data/tokenizer/bpe.js';
import { suite } from '../support/suite.js';
import { readTokenization, tinyTokenizer } from './golden.js';

const golden = readTokenization();
type Name = 'tiny-bytes' | 'tiny-pieces';

function python(name: Name, text: string) {
  const place = [...golden.texts, ...golden.odd_texts].indexOf(text);
  const ids = golden.tiny[name]?.ids[place];
  assert.ok(ids, `no golden ids of ${JSON.stringify(text)}`);
  return { ids, text: golden.tiny[name]?.decoded[place] };
}

/** What the library makes of it alone; an error is what it says. */
function alone<T>(name: Name, work: (library: InstanceType<typeof Library>) => T, config = {}): T | string {
  try {
    return work(new Library(golden.tiny[name]?.tokenizer ?? {}, config));
  } catch (error) {
    return String(error);
  }
}

async function assertEncodes(name: Name, text: string): Promise<void> {
  const { ids } = python(name, text);
  assert.deepEqual((await tinyTokenizer(name)).encode(text), ids);
  assert.notDeepEqual(
    alone(name, (library) => library.encode(text, { add_special_tokens: false }).ids),
    ids,
  );
}

suite('fixes of the tokenizer library', (test) => {
  test('U+FEFF is no white space to ByteLevel', () => assertEncodes('tiny-bytes', 'a\ufeff.'));
  test('U+0085 is white space to ByteLevel', () => assertEncodes('tiny-bytes', ' \ufeff. \u0085\u0085x'));

  test('single_word', async () => {
    for (const text of ['xWORD', 'éWORD WORDé', '_WORD']) await assertEncodes('tiny-bytes', text);
    await assertEncodes('tiny-pieces', 'WORD WORD');
  });
  test('lstrip and rstrip leave other added tokens alone', async () => {
    await assertEncodes('tiny-bytes', 'a  <mask>  b');
    await assertEncodes('tiny-pieces', '<mask><mask>');
  });

  test('added tokens of normalised text are decoded as that text', async () => {
    const { ids, text } = python('tiny-pieces', 'a  <mask>  b');
    assert.equal((await tinyTokenizer('tiny-pieces')).decode(ids), text);
    assert.notEqual(
      alone('tiny-pieces', (library) => library.decode(ids)),
      text,
    );
  });

  test('bytes: U+FEFF stays, what is no UTF-8 gives one U+FFFD a byte', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    const byte = (value: number) => 3 + value;
    const cases: [bytes: number[], text: string][] = [
      [[0xef, 0xbb, 0xbf, 0x41], '\ufeffA'],
      [[0xe4, 0xbd], '\ufffd\ufffd'],
      [[0x41, 0xff, 0x42], '\ufffd\ufffd\ufffd'],
    ];
    for (const [bytes, text] of cases) {
      const ids = bytes.map(byte);
      assert.equal(tokenizer.decode(ids), text);
      assert.notEqual(
        alone('tiny-pieces', (library) => library.decode(ids)),
        text,
      );
    }
  });

  test('no ids give no text', async () => {
    assert.equal((await tinyTokenizer('tiny-bytes')).decode([]), '');
    assert.match(String(alone('tiny-bytes', (library) => library.decode([]))), /non-empty/);
  });

  test('spaces are cleaned up only where tokenizer_config.json says so', async () => {
    const text = "Don't .stop ,here !now ?please";
    const { ids } = python('tiny-bytes', text);
    assert.equal((await tinyTokenizer('tiny-bytes')).decode(ids), text);
    const cleaned = await tinyTokenizer('tiny-bytes', { clean_up_tokenization_spaces: true });
    assert.equal(cleaned.decode(ids), "Don't.stop,here!now?please");
    assert.notEqual(
      alone('tiny-bytes', (library) => library.decode(ids)),
      text,
    );
  });

  test('words of pieces that are merged one by one give the ids of the whole text', async () => {
    const tokenizer = await tinyTokenizer('tiny-pieces');
    for (const text of [...golden.texts, ...golden.odd_texts])
      assert.deepEqual(tokenizer.encode(text), python('tiny-pieces', text).ids, JSON.stringify(text));
  });

  test('where a merge reaches over a ▁, the text stays whole', () => {
    const splits = (merges: string[], ids = ['▁']) =>
      splitsAtWords(
        new Map(ids.map((id, place) => [id, place])),
        merges.map((merge) => merge.split(' ')),
      );
    assert.equal(splits(['▁ t', 'i n']), true);
    assert.equal(splits(['▁ t', 'n ▁']), false);
    assert.equal(splits(['i n']), false, 'no word begins with it');
    assert.equal(splits(['▁ t'], ['▁t']), false, '▁ is no token: next to one it would be unknown too');
  });
});
