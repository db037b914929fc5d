// The walls between the folders of src/ and native/, and what only one room may touch. biome.json says the same of src's imports while one
// types; the table here is the truth, and biome.json is compared with it.

import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { suite } from './support/suite.js';

const root = fileURLToPath(new URL('..', import.meta.url));

/** folder → the folders that it may import besides itself. */
const src: Record<string, readonly string[]> = {
  cli: ['recipe', 'report', 'methods', 'evaluation', 'output', 'engine', 'models', 'data', 'common'],
  recipe: ['methods', 'evaluation', 'output', 'engine', 'models', 'data', 'common'],
  report: ['evaluation', 'output', 'common'],
  methods: ['engine', 'data', 'common'],
  evaluation: ['engine', 'data', 'common'],
  output: ['data', 'common'],
  engine: ['models', 'common'],
  models: ['common'],
  data: ['common'],
  common: [],
};
const native: Record<string, readonly string[]> = {
  addon: ['engine', 'learn', 'sample', 'io', 'model', 'ops', 'base'],
  engine: ['learn', 'sample', 'io', 'model', 'ops', 'base'],
  learn: ['model', 'ops', 'base'],
  sample: ['model', 'ops', 'base'],
  io: ['base'],
  model: ['ops', 'base'],
  ops: ['base'],
  base: [],
};

interface Source {
  /** From the root of the repository. */
  path: string;
  /** The room: src/engine/engine.ts is in engine; src/index.ts is in none. */
  folder: string;
  text: string;
}

function sources(top: 'src' | 'native', endings: RegExp): Source[] {
  return readdirSync(join(root, top), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && endings.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .map((path) => {
      const [folder, ...rest] = relative(join(root, top), path).split('/');
      return {
        path: relative(root, path),
        folder: rest.length > 0 ? (folder ?? '') : '',
        text: readFileSync(path, 'utf8'),
      };
    });
}

const typescript = sources('src', /\.ts$/);
const cpp = sources('native', /\.(cc|h|inc|cu|cuh)$/);

/** Without comments, so that a file may say in words what it does not do. */
const code = (text: string) => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');

function importsOf({ text }: Source): string[] {
  const specifiers = code(text).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'([^']+)'/g);
  return [...specifiers].map((match) => match[1] ?? '');
}

function includesOf({ text }: Source): string[] {
  return [...code(text).matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)].map((match) => match[1] ?? '');
}

/** Every line that breaks the table. */
function crossings(files: Source[], table: Record<string, readonly string[]>, targetsOf: (file: Source) => string[]) {
  return files.flatMap((file) => {
    const allowed = table[file.folder];
    if (allowed === undefined) return [`${file.path}: native or src has a folder that the table lacks: ${file.folder}`];
    return targetsOf(file)
      .filter((folder) => folder !== file.folder && !allowed.includes(folder))
      .map((folder) => `${file.path}: ${file.folder} may not know ${folder || 'src/*.ts'}`);
  });
}

/** Files of `files` (but for `except`) where `pattern` stands outside of comments. */
function findings(files: Source[], pattern: RegExp, except: readonly string[] = []): string[] {
  return files
    .filter(({ path, text }) => !except.includes(path) && pattern.test(code(text)))
    .map(({ path, text }) => `${path}: ${pattern.exec(code(text))?.[0]}`);
}

const inFolders = (files: Source[], ...folders: string[]) => files.filter(({ folder }) => folders.includes(folder));

suite('layers', (test) => {
  test('there is something to check', () => {
    assert.ok(typescript.length > 20 && cpp.length > 20);
    assert.ok(typescript.flatMap(importsOf).length > 50);
    assert.ok(cpp.flatMap(includesOf).length > 100);
  });

  test('imports of src point down', () => {
    const targets = (file: Source) =>
      importsOf(file)
        .filter((specifier) => specifier.startsWith('.'))
        .map((specifier) => join(dirname(file.path), specifier).split('/'))
        .map(([top, folder, ...rest]) => (top === 'src' && rest.length > 0 ? (folder ?? '') : ''));
    const rooms = typescript.filter(({ path }) => path !== 'src/index.ts');
    assert.deepEqual(crossings(rooms, src, targets), []);
  });

  test('the public API does not know the command line', () => {
    const index = typescript.filter(({ path }) => path === 'src/index.ts');
    assert.deepEqual(
      index.flatMap(importsOf).filter((specifier) => specifier.startsWith('./cli/')),
      [],
    );
  });

  test('includes of native point down, each from native/', () => {
    assert.deepEqual(
      crossings(cpp, native, (file) => includesOf(file).map((path) => path.split('/')[0] ?? '')),
      [],
    );
    const lost = cpp.flatMap((file) => includesOf(file).filter((path) => !existsSync(join(root, 'native', path))));
    assert.deepEqual(lost, []);
  });

  test('no circle among native headers', () => {
    const headers = new Map(cpp.map((file) => [relative('native', file.path), includesOf(file)]));
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (path: string, way: string[]): void => {
      if (way.includes(path)) circles.push([...way.slice(way.indexOf(path)), path].join(' → '));
      else if (!done.has(path)) for (const next of headers.get(path) ?? []) visit(next, [...way, path]);
      done.add(path);
    };
    for (const path of headers.keys()) visit(path, []);
    assert.deepEqual(circles, []);
  });

  test('biome.json has the walls of src', () => {
    const shape = z.object({
      overrides: z.array(
        z.object({
          includes: z.array(z.string()),
          linter: z.object({
            rules: z.object({
              style: z.object({
                noRestrictedImports: z
                  .object({ options: z.object({ patterns: z.array(z.object({ group: z.array(z.string()) })) }) })
                  .optional(),
              }),
            }),
          }),
        }),
      ),
    });
    const { overrides } = shape.parse(JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8')));
    for (const [folder, allowed] of Object.entries(src)) {
      const own = overrides.find(({ includes }) => includes.includes(`src/${folder}/**`));
      const groups = own?.linter.rules.style.noRestrictedImports?.options.patterns.flatMap(({ group }) => group) ?? [];
      const wanted = Object.keys(src).filter((other) => other !== folder && !allowed.includes(other));
      const found = Object.keys(src).filter((other) => groups.includes(`**/${other}/**`));
      assert.deepEqual(found, wanted, `what biome.json forbids ${folder}`);
    }
  });
});

suite('rooms', (test) => {
  test('methods and evaluation know no file, clock, terminal or chance of their own', () => {
    const rooms = inFolders(typescript, 'methods', 'evaluation');
    assert.deepEqual(
      findings(
        rooms,
        /'node:|\bMath\.random\b|\bDate\b|\bperformance\b|\bconsole\b|\bprocess\b|\bset(Timeout|Interval)\b/,
      ),
      [],
    );
  });

  test('only engine/addon.ts loads the addon', () => {
    assert.deepEqual(
      findings(typescript, /\bcreateRequire\b|\bprocess\.dlopen\b|gleaner\.node/, ['src/engine/addon.ts']),
      [],
    );
    assert.deepEqual(
      typescript.filter(
        (file) => file.folder !== 'engine' && importsOf(file).some((path) => /engine\/addon\.js$/.test(path)),
      ),
      [],
    );
  });

  test('only cli/terminal.ts prints', () => {
    assert.deepEqual(findings(typescript, /\bconsole\.|\bprocess\.std(out|err)\b/, ['src/cli/terminal.ts']), []);
  });

  test('only native/addon knows N-API', () => {
    const others = cpp.filter(({ folder }) => folder !== 'addon');
    assert.deepEqual(findings(others, /#\s*include\s*<(napi|node_api|node|v8|uv)\.h>|\bNapi::|\bnapi_/), []);
  });

  test('above ops nobody names a backend', () => {
    const above = inFolders(cpp, 'addon', 'engine', 'learn', 'sample', 'model');
    assert.deepEqual(
      findings(above, /#\s*include\s+"ops\/(cpu|cuda)\/|#\s*if.*\b(CUDA|GLEANER_CUDA|__x86_64__|__AVX)/),
      [],
    );
  });
});
