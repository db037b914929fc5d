// Recipes: defaults, errors that name line and key, --set, and the documentation beside the schema.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { GleanerError } from '../../src/common/errors.js';
import { checkRecipe, parseRecipe, readRecipe, recipeText } from '../../src/recipe/read.js';
import { suite } from '../support/suite.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const MINIMAL = 'method: irft\nmodel: m\ndata: { train: d.jsonl }\n';

function errorOf(work: () => unknown): GleanerError {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof GleanerError, String(error));
    return error;
  }
  throw new Error('no error');
}

suite('recipes', (test) => {
  test('three keys are enough; the rest are the defaults of design and paper', () => {
    const recipe = parseRecipe(MINIMAL, 'r.yaml');
    assert.equal(recipe.name, 'irft');
    assert.equal(recipe.output, 'runs/irft');
    assert.deepEqual(recipe.train.optimizer, {
      name: 'rmsprop',
      learning_rate: 5e-7,
      alpha: 0.99,
      eps: 1e-8,
      weight_decay: 0,
    });
    assert.deepEqual(recipe.train.schedule, { name: 'linear', warmup_ratio: 0.1, warmup_steps: null });
    assert.equal(recipe.train.max_grad_norm, 1);
    assert.equal(recipe.irft.beta, 0.1);
    assert.deepEqual(recipe.generation, { max_new_tokens: 256, temperature: 1, top_p: 1, top_k: 0 });
    assert.equal(recipe.seed, 42);
  });

  test('what is printed is read again as the same recipe', () => {
    const recipe = parseRecipe(MINIMAL, 'r.yaml', [
      'train.optimizer={name: adamw, learning_rate: 1e-3}',
      'spin.beta=[0.1, 5]',
    ]);
    assert.deepEqual(parseRecipe(recipeText(recipe), 'again.yaml'), recipe);
  });

  test('an optimizer without a name is RMSProp', () => {
    const { optimizer } = parseRecipe(`${MINIMAL}train: { optimizer: { learning_rate: 1e-4 } }`, 'r.yaml').train;
    assert.equal(optimizer.name, 'rmsprop');
    assert.equal(optimizer.learning_rate, 1e-4);
  });

  for (const [yaml, message] of [
    ['train:\n  batchsize: 4', /^r\.yaml:5: unknown key train\.batchsize; did you mean train\.batch_size\?$/],
    [
      'train: { optimizer: { name: adamw, beta: [0.9, 0.99] } }',
      /unknown key train\.optimizer\.beta; did you mean train\.optimizer\.betas\?/,
    ],
    ['irft: { round: 3 }', /unknown key irft\.round; did you mean irft\.rounds\?/],
    ['evaluatoin: {}', /unknown key evaluatoin; did you mean evaluation\?/],
    ['xyzzy: 1', /unknown key xyzzy$/],
    ['train: { batch_size: 0 }', /^r\.yaml:4: train\.batch_size is 0: /],
    ['train: { batch_size: 1.5 }', /train\.batch_size is 1\.5/],
    ['irft: { loss: squared }', /irft\.loss is "squared": one of logistic, hinge, linear is needed/],
    ['irft: { beta: -1 }', /irft\.beta is -1/],
    ['precision: bf16', /precision is "bf16": one of fp32 is needed/],
    ['name: a/b', /name is "a\/b": letters, digits/],
  ] as const) {
    test(`${yaml.replace('\n', ' ')}: named`, () => {
      const error = errorOf(() => parseRecipe(`${MINIMAL}${yaml}`, 'r.yaml'));
      assert.equal(error.code, 'ERR_GLEANER_RECIPE');
      assert.match(error.message, message);
    });
  }

  test('several mistakes are said at once; a missing key is called missing', () => {
    const { message } = errorOf(() => parseRecipe('method: sft\nseeed: 1\ndata: {}', 'r.yaml'));
    assert.match(message, /model is missing/);
    assert.match(message, /data\.train is missing/);
    assert.match(message, /unknown key seeed; did you mean seed\?/);
  });

  test('broken YAML: line and column', () => {
    assert.match(errorOf(() => parseRecipe('method: [irft\nmodel: m', 'r.yaml')).message, /^r\.yaml:2:\d+: /);
    assert.match(errorOf(() => parseRecipe('just text', 'r.yaml')).message, /keys and values/);
  });

  test('a bomb of aliases is refused, not unfolded', () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) =>
        `l${i}: &l${i} [${Array(9)
          .fill(i === 0 ? 'x' : `*l${i - 1}`)
          .join(', ')}]`,
    );
    assert.match(errorOf(() => parseRecipe(levels.join('\n'), 'r.yaml')).message, /alias/i);
  });

  test('--set: numbers, lists, null and text are what they look like', () => {
    const sets = [
      'train.max_steps=7',
      'data.train=[a.jsonl, b.json]',
      'train.max_grad_norm=null',
      'output=runs/x=y',
      'seed=0',
    ];
    const recipe = parseRecipe(MINIMAL, 'r.yaml', sets);
    assert.equal(recipe.train.max_steps, 7);
    assert.deepEqual(recipe.data.train, ['a.jsonl', 'b.json']);
    assert.equal(recipe.train.max_grad_norm, null);
    assert.equal(recipe.output, 'runs/x=y');
    assert.match(errorOf(() => parseRecipe(MINIMAL, 'r.yaml', ['seed'])).message, /--set seed: expected KEY=VALUE/);
    assert.match(errorOf(() => parseRecipe(MINIMAL, 'r.yaml', ['seed=[1'])).message, /not YAML/);
    assert.match(errorOf(() => parseRecipe(MINIMAL, 'r.yaml', ['train.lr=1'])).message, /unknown key train\.lr/);
    assert.match(errorOf(() => parseRecipe(MINIMAL, 'r.yaml', ['__proto__.x=1'])).message, /unknown key __proto__/);
  });

  test('any object is a recipe or a GleanerError', () => {
    const keys = fc.constantFrom('method', 'model', 'data', 'train', 'irft', 'seed', 'threads', 'x');
    const value = fc.oneof(
      fc.anything({ maxDepth: 2 }),
      fc.constantFrom('irft', 'sft', { train: 'd' }, { batch_size: 3 }),
    );
    fc.assert(
      fc.property(fc.dictionary(keys, value), (object) => {
        try {
          checkRecipe(object);
        } catch (error) {
          assert.ok(error instanceof GleanerError && error.code === 'ERR_GLEANER_RECIPE', String(error));
        }
      }),
      { seed: 11, numRuns: 500 },
    );
  });

  test('any text is a recipe or a GleanerError', () => {
    const piece = fc.constantFrom(
      'method: irft',
      'model: m',
      'data: ',
      '{ train: d }',
      '\n',
      '  ',
      '- ',
      '&a ',
      '*a',
      '!!js ',
      '"',
      '\t',
      ': ',
      '\u0000',
      '💥',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        try {
          parseRecipe(pieces.join(''), 'r.yaml');
        } catch (error) {
          assert.ok(error instanceof GleanerError && error.code === 'ERR_GLEANER_RECIPE', String(error));
        }
      }),
      { seed: 12, numRuns: 500 },
    );
  });

  test('every recipe of examples/ is valid', async () => {
    const files = readdirSync(join(root, 'examples'), { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.endsWith('.yaml') && !path.includes('runs/'),
    );
    assert.ok(files.length >= 5);
    for (const file of files) await readRecipe(join(root, 'examples', file));
  });

  test('docs/recipes.md has every key with its default', () => {
    const docs = readFileSync(join(root, 'docs/recipes.md'), 'utf8');
    const rows = new Map(
      [...docs.matchAll(/^\| `([\w.]+)` \|(.*?)\|/gm)].map((match) => [
        match[1] ?? '',
        (match[2] ?? '').replaceAll('`', '').trim(),
      ]),
    );
    const adamw = parseRecipe(`${MINIMAL}train: { optimizer: { name: adamw } }`, 'r.yaml').train.optimizer;
    const recipe = parseRecipe(MINIMAL, 'r.yaml');
    const required = new Set(['method', 'model', 'data.train', 'name', 'output']);
    const walk = (value: object, path: string): void => {
      for (const [key, inner] of Object.entries(value)) {
        const name = path === '' ? key : `${path}.${key}`;
        if (typeof inner === 'object' && inner !== null && !Array.isArray(inner)) walk(inner, name);
        else if (required.has(name)) assert.ok(rows.has(name), `${name} is not in docs/recipes.md`);
        else
          assert.deepEqual(
            JSON.parse(JSON.stringify(parseDefault(rows.get(name)))),
            inner,
            `the default of ${name} in docs/recipes.md`,
          );
      }
    };
    walk(recipe, '');
    if (adamw.name === 'adamw') assert.equal(rows.get('train.optimizer.betas'), `[${adamw.betas.join(', ')}]`);
  });
});

function parseDefault(text: string | undefined): unknown {
  if (text === undefined) return 'missing';
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
