// Stop texts across the borders of tokens, with a stream that has one character or several a token.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { StopStrings } from '../../src/recipe/stop_strings.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const pieces = ['a', 'b', 'ab', 'ba', 'aab', ' ', 'END', 'E', 'ND'];

async function tokenizer(): Promise<Tokenizer> {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'tokenizer_config.json'), '{}');
  const vocab = Object.fromEntries(pieces.map((piece, id) => [piece.replace(' ', 'Ġ'), id]));
  writeFileSync(
    join(folder, 'tokenizer.json'),
    JSON.stringify({
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      post_processor: null,
      decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        vocab,
        merges: [],
      },
    }),
  );
  return Tokenizer.load(folder);
}

suite('stop texts', (test) => {
  test('what is given out is the text before the first stop text, however it is cut into tokens', async () => {
    const found = await tokenizer();
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: pieces.length - 1 }), { maxLength: 30 }),
        fc.subarray(['END', 'aa', 'b a', 'bab', 'E'], { minLength: 1 }),
        (tokens, stops) => {
          const stream = new StopStrings(found, [], stops);
          let given = '';
          let seen = '';
          for (const token of tokens) {
            if (stream.stopped) break;
            given += stream.push(token);
            seen += pieces[token];
          }
          const places = stops.map((stop) => seen.indexOf(stop)).filter((place) => place >= 0);
          assert.equal(stream.stopped, places.length > 0);
          assert.equal(stream.text, places.length > 0 ? seen.slice(0, Math.min(...places)) : seen);
          assert.ok(stream.text.startsWith(given));
          if (stream.stopped) assert.equal(given, stream.text);
          // Held back is only what may be the beginning of a stop text.
          else assert.ok(stops.some((stop) => stop.startsWith(seen.slice(given.length))) || given === seen);
        },
      ),
      { seed: 4, numRuns: 1000 },
    );
  });

  test('without stop texts everything is given out at once', async () => {
    const stream = new StopStrings(await tokenizer(), [], []);
    assert.equal(stream.push(6), 'END');
    assert.equal(stream.push(5), ' ');
    assert.ok(!stream.stopped);
  });
});
