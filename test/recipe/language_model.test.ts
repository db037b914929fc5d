// What is done by the time that a row cannot be answered or scored, or that the caller aborts, is given out before the error.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import type { Row } from '../../src/data/rows.js';
import { type LanguageModel, loadModel } from '../../src/recipe/language_model.js';
import { assertClose, assertRejects, suite } from '../support/suite.js';

const folder = fileURLToPath(new URL('../../examples/quickstart/base/1', import.meta.url));
const MAX_POSITIONS = 128;

function demonstration(i: number): Row {
  const text = {
    prompt: `Shelf: ${i} peas.\nVera takes 1. How many peas now?\nDesk:`,
    response: ` So ${i - 1} peas now.`,
  };
  return { kind: 'prompt_response', id: `${i}`, ...text };
}
const demonstrations = (count: number): Row[] => Array.from({ length: count }, (_, i) => demonstration(i + 2));
const overlong: Row = {
  kind: 'prompt_response',
  id: 'overlong',
  prompt: 'Vera takes 1. '.repeat(60),
  response: ' So 0.',
};

async function withModel(work: (model: LanguageModel) => Promise<void>): Promise<void> {
  await using model = await loadModel(folder, { threads: 1 });
  await work(model);
}

/** What came, and the error that ended it. */
async function taken<Item>(items: AsyncIterable<Item>): Promise<{ found: Item[]; fail: () => void }> {
  const found: Item[] = [];
  try {
    for await (const item of items) found.push(item);
  } catch (error) {
    return {
      found,
      fail: () => {
        throw error;
      },
    };
  }
  return { found, fail: () => {} };
}

suite('a model as text', (test) => {
  test('score: the rows before one that cannot be scored, as they are without it', () =>
    withModel(async (model) => {
      const alone = await taken(model.score(demonstrations(5)));
      const { found, fail } = await taken(model.score([...demonstrations(5), overlong, ...demonstrations(2)]));
      assert.deepEqual(found, alone.found);
      await assertRejects(fail, 'ERR_GLEANER_DATA', new RegExp(`row overlong has \\d+ tokens: .*${MAX_POSITIONS}`));
    }));

  test('score: a row’s numbers do not depend on the rows that it is scored with', () =>
    withModel(async (model) => {
      const { found } = await taken(model.score(demonstrations(300)));
      const some = await taken(model.score(demonstrations(7)));
      assert.equal(found.length, 300);
      assert.deepEqual(found.slice(0, 7), some.found);
    }));

  test('generate: the answers before a prompt that does not fit', () =>
    withModel(async (model) => {
      const { found, fail } = await taken(model.generate([...demonstrations(3), overlong], { seed: 1 }));
      assert.deepEqual(
        found.map(({ id }) => id),
        ['2', '3', '4'],
      );
      await assertRejects(fail, 'ERR_GLEANER_USAGE', /row overlong: \d+ prompt tokens and 64 new ones/);
    }));

  test('generate: an abort gives the answers that are whole, as they are without it', () =>
    withModel(async (model) => {
      const all = await taken(model.generate(demonstrations(200), { seed: 1 }));
      const controller = new AbortController();
      let written = 0;
      const onText = () => {
        written += 1;
        if (written === 500) controller.abort();
      };
      const { found, fail } = await taken(
        model.generate(demonstrations(200), { seed: 1, onText, signal: controller.signal }),
      );
      await assertRejects(fail, 'ABORT_ERR');
      assert.ok(found.length > 5 && found.length < 200, `${found.length} answers`);
      for (const { logprob, ...answer } of found) {
        const { logprob: wanted, ...whole } = all.found.find(({ id }) => id === answer.id) ?? { logprob: Number.NaN };
        assert.deepEqual(answer, whole);
        assertClose(logprob, wanted, 1e-4); // sampled one by one, then scored in one pass
      }
    }));

  test('the default of max_new_tokens leaves half of the positions to the prompt', () =>
    withModel(async (model) => {
      const { found } = await taken(model.generate(demonstrations(20), { temperature: 20, seed: 3 }));
      assert.equal(Math.max(...found.map(({ response_ids }) => response_ids.length)), MAX_POSITIONS / 2);
    }));
});
