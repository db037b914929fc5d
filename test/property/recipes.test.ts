// Recipes and --set: any damage, any type for any key, bombs of aliases, depth, bytes. Each is a recipe or one GleanerError, soon; and mistakes are
// named where they were made.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { GleanerError } from '../../src/common/errors.js';
import { parseRecipe, readRecipe, recipeText } from '../../src/recipe/read.js';
import { assertRejects, suite } from '../support/suite.js';

const MINIMAL = 'method: irft\nmodel: m\ndata: { train: d.jsonl }\n';
const full = recipeText(parseRecipe(MINIMAL, 'r.yaml'));
const examples = fileURLToPath(new URL('../../examples', import.meta.url));
const recipes = readdirSync(examples, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => readFileSync(join(examples, name), 'utf8'));

interface Outcomes {
  read: number;
  refused: number;
}

function read(text: string, sets: readonly string[], outcomes: Outcomes): void {
  const begun = performance.now();
  try {
    assert.equal(typeof parseRecipe(text, 'r.yaml', sets).name, 'string');
    outcomes.read += 1;
  } catch (error) {
    if (!(error instanceof GleanerError)) throw error;
    assert.equal(error.code, 'ERR_GLEANER_RECIPE');
    assert.match(error.message, /^(r\.yaml|--set )/);
    assert.ok(error.message.length < 5000, `${error.message.length} characters`);
    outcomes.refused += 1;
  }
  assert.ok(performance.now() - begun < 20_000);
}

/** Every path to a value of a recipe with all defaults in place. */
function paths(value: unknown, path: readonly string[] = []): string[][] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [[...path]];
  return [
    ...(path.length > 0 ? [[...path]] : []),
    ...Object.entries(value).flatMap(([key, inner]) => paths(inner, [...path, key])),
  ];
}

const values = [
  '', 'null', '~', 'true', 'no', '0', '-0', '-1', '1.5', '.nan', '.inf', '-.inf', '1e999', '9007199254740993', '0x7fffffff', '1_000', '0o17', '2026-11-25', "''", '"x"', 'x', '{}', '[]', '[1]', '{a: 1}',
  '{__proto__: {x: 1}}', '{constructor: 1}', '[[[[[]]]]]', '!!binary aGk=', '!!set {a}', '!!js/function "x"', '&a [*a]', '"\\u0000"', '"\\ud800"', "'a.b=c'", '{name: adamw}', '[0.1, 0.2]', 'auto', 'irft', `"${'x'.repeat(5000)}"`,
  `[${'1,'.repeat(5000)}]`,
]; // biome-ignore format: a table

suite('damaged recipes', (test) => {
  test('every key with values of every type, by --set and in the file', () => {
    const outcomes = { read: 0, refused: 0 };
    const all = paths(parseRecipe(MINIMAL, 'r.yaml'));
    assert.ok(all.length > 50);
    for (const path of all) {
      for (const [place, value] of values.entries()) {
        read(MINIMAL, [`${path.join('.')}=${value}`], outcomes);
        const indent = path.map((key, depth) => `${'  '.repeat(depth)}${key}:`).join('\n');
        if (place % 3 === 0 && !/^(method|model|data)$/.test(path[0] ?? ''))
          read(`${MINIMAL}${indent} ${value}`, [], outcomes);
      }
    }
    assert.ok(outcomes.read > 200 && outcomes.refused > 2000, JSON.stringify(outcomes));
  });

  test('damaged text: bits, cuts, pieces put in and out', () => {
    const outcomes = { read: 0, refused: 0 };
    const piece = fc.oneof(
      fc.constantFrom(
        '\n',
        '  ',
        '- ',
        ': ',
        '&a ',
        '*a',
        '{',
        '}',
        '[',
        ']',
        '<<: ',
        '|\n',
        '>',
        '"',
        "'",
        '#',
        '%YAML 1.1\n',
        '---\n',
        '...\n',
        '\t',
        '!!map ',
        '? ',
        '\u0000',
        '\ud800',
        '\ufeff',
      ),
      fc.constantFrom(...values),
    );
    const damage = fc.record({ of: fc.nat(), at: fc.double({ min: 0, max: 1, noNaN: true }), skip: fc.nat(40), piece });
    fc.assert(
      fc.property(damage, ({ of, at, skip, piece: put }) => {
        const texts = [full, ...recipes];
        const text = texts[of % texts.length] ?? full;
        const place = Math.floor(at * text.length);
        read(text.slice(0, place) + put + text.slice(place + skip), [], outcomes);
      }),
      { seed: 37, numRuns: 600 },
    );
    assert.ok(outcomes.read >= 20 && outcomes.refused >= 200, JSON.stringify(outcomes));
  });

  test('any --set', () => {
    const outcomes = { read: 0, refused: 0 };
    const key = fc.oneof(
      fc.constantFrom(...paths(parseRecipe(MINIMAL, 'r.yaml')).map((path) => path.join('.'))),
      fc.constantFrom(
        '__proto__',
        '__proto__.x',
        'constructor.prototype.x',
        'train.__proto__.y',
        '',
        '.',
        'a..b',
        'train.',
        'data.train.0',
        'x'.repeat(500),
      ),
      fc.string(),
    );
    fc.assert(
      fc.property(
        key,
        fc.oneof(fc.constantFrom(...values), fc.string()),
        fc.constantFrom('=', '', '=='),
        (name, value, equals) => read(MINIMAL, [name + equals + value], outcomes),
      ),
      { seed: 41, numRuns: 600 },
    );
    assert.ok(outcomes.read >= 3 && outcomes.refused >= 200, JSON.stringify(outcomes));
    assert.equal(Reflect.get({}, 'x'), undefined, 'no prototype was touched');
  });

  test('bombs and depth', () => {
    const outcomes = { read: 0, refused: 0 };
    const aliases = Array.from({ length: 30 }, (_, i) => `l${i}: &l${i} [${`*l${i - 1}, `.repeat(9)}]`)
      .join('\n')
      .replace(/\*l-1/g, 'x');
    const merges = Array.from({ length: 30 }, (_, i) => `m${i}: &m${i} { a${i}: 1, <<: [${`*m${i - 1}, `.repeat(9)}] }`)
      .join('\n')
      .replace(/\*m-1, /g, '');
    const bombs = [
      aliases, merges, '['.repeat(100_000), '{a: '.repeat(100_000), '- '.repeat(50_000), '? '.repeat(50_000), Array.from({ length: 5000 }, (_, i) => `${' '.repeat(i)}a:`).join('\n'), '&a '.repeat(50_000),
      `name: "${'x'.repeat(500_000)}"`, `seed: ${'9'.repeat(100_000)}`, 'a: 1\n'.repeat(2), `${MINIMAL}seed: 1\nseed: 2`, `${MINIMAL}train: &t { a: *t }`,
      Array.from({ length: 12_000 }, (_, i) => `k${i}: 1`).join('\n'), `${MINIMAL}seed: ${'9'.repeat(9000)}`,
    ]; // biome-ignore format: a table
    for (const bomb of bombs) {
      read(bomb, [], outcomes);
      read(MINIMAL, [`seed=${bomb}`], outcomes);
      read(MINIMAL, [`${bomb}=1`], outcomes);
    }
    read(MINIMAL, [`${'a.'.repeat(100_000)}b=1`], outcomes);
    assert.equal(outcomes.read, 0, JSON.stringify(outcomes));
  });
});

suite('where a recipe is wrong', (test) => {
  const message = (text: string, ...sets: string[]) => {
    try {
      parseRecipe(text, 'r.yaml', sets);
    } catch (error) {
      assert.ok(error instanceof GleanerError);
      return error.message;
    }
    return '';
  };

  test('--set is named, not a line of the file', () => {
    assert.match(message(MINIMAL, 'train.batch_size=0'), /^--set train\.batch_size=0: train\.batch_size is 0: /);
    assert.match(message(MINIMAL, 'train.lr=1'), /^--set train\.lr=1: unknown key train\.lr/);
    assert.match(message(MINIMAL, 'train={lr: 1}'), /^--set train=\{lr: 1\}: unknown key train\.lr/);
    assert.match(message(MINIMAL, 'seeed.a=1'), /^--set seeed\.a=1: unknown key seeed; did you mean seed\?/);
    assert.match(message(MINIMAL, 'seed=-1', 'seed=x'), /^--set seed=x: seed is "x"/);
    assert.match(message(`${MINIMAL}seed: -1`, 'threads=2'), /^r\.yaml:4: seed is -1/);
    assert.match(message(`${MINIMAL}train: { batch_size: 0 }`, 'train.epochs=1'), /^r\.yaml:4: train\.batch_size is 0/);
  });

  test('a key of another section is found', () => {
    assert.match(message(`${MINIMAL}batch_size: 3`), /unknown key batch_size; did you mean train\.batch_size\?$/);
    assert.match(message(`${MINIMAL}train: { rounds: 3 }`), /did you mean irft\.rounds\?$/);
    assert.match(message(`${MINIMAL}train: { max_new_token: 3 }`), /did you mean generation\.max_new_tokens\?$/);
    assert.match(message(`${MINIMAL}learning_rate: 3`), /did you mean train\.optimizer\.learning_rate\?$/);
    assert.match(message(`${MINIMAL}irft: { seed: 3 }`), /did you mean seed\?$/);
    assert.match(
      message(`${MINIMAL}train: { batchsize: 3 }`),
      /did you mean train\.batch_size\?$/,
      'the own section first',
    );
  });

  test('an empty recipe says what a minimal one is', () => {
    for (const text of ['', '\n\n', '# nothing yet\n', '---\n', 'null'])
      assert.throws(
        () => parseRecipe(text, 'r.yaml'),
        (error) =>
          error instanceof GleanerError &&
          /r\.yaml: the recipe is empty/.test(error.message) &&
          /method: irft/.test(error.hint ?? ''),
      );
  });

  test('files that are not there, and what is no recipe', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'gleaner-recipe-'));
    try {
      const refused = (name: string, expected: RegExp) =>
        assertRejects(() => readRecipe(join(folder, name)), 'ERR_GLEANER_RECIPE', expected);
      await refused('stories.yaml', /stories\.yaml: there is no such file$/);
      for (const name of ['stories.yaml', 'chat.yaml', 'data.jsonl']) writeFileSync(join(folder, name), MINIMAL);
      assert.equal((await readRecipe(join(folder, 'chat.yaml'))).method, 'irft');
      await refused('story.yaml', /no such file; did you mean .*\/stories\.yaml\?$/);
      await refused('stories', /did you mean .*\/stories\.yaml\?$/);
      await refused('stories.yml', /did you mean .*\/stories\.yaml\?$/);
      await refused('zzzzzz.yaml', /did you mean .*\/chat\.yaml or .*\/stories\.yaml\?$/);
      await refused('none/x.yaml', /no such file$/);
      mkdirSync(join(folder, 'folder'));
      await refused('folder', /this is a folder/);
      execFileSync('mkfifo', [join(folder, 'pipe')]);
      await refused('pipe', /not a regular file/);
      writeFileSync(join(folder, 'bytes.yaml'), Uint8Array.of(0x61, 0x3a, 0xff));
      await refused('bytes.yaml', /not UTF-8/);
      writeFileSync(join(folder, 'big.yaml'), ' '.repeat(2 ** 17 + 1));
      await refused('big.yaml', /at most/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
