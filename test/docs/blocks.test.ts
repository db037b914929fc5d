// Every code block of the documents: commands run, TypeScript is checked and run, recipes are read, JSON is parsed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { parseRecipe } from '../../src/recipe/read.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';
import { type Block, blocksOf, documents, indentedCommands, root, workspace } from './blocks.js';

const blocks = documents().flatMap(blocksOf);
const runnable = blocks.filter(({ reason }) => reason === undefined);
const left = blocks.filter(({ reason }) => reason !== undefined);
const shells = new Set(['sh', 'bash']);
const known = new Set([...shells, 'ts', 'yaml', 'json', 'jsonl', 'text', 'cpp']);
const where = ({ file, line }: Block): string => `${file}:${line}`;

interface Ended {
  code: number | null;
  output: string;
}

function run(command: string, args: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

const isRecipe = (value: unknown): boolean =>
  z.looseObject({ method: z.string(), model: z.string() }).safeParse(value).success;
const typescript = (block: Block): string => `${block.file.replace(/\W/g, '_')}_${block.line}.mts`;

/** One folder for the types of all blocks. */
const types = temporaryFolder();
writeFileSync(
  join(types, 'tsconfig.json'),
  JSON.stringify({
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      paths: { gleaner: [join(root, 'src/index.ts')] },
      typeRoots: [join(root, 'node_modules/@types')],
    },
    include: ['*.mts', join(root, 'src/**/*.d.ts')],
  }),
);
for (const block of runnable.filter(({ language }) => language === 'ts'))
  writeFileSync(join(types, typescript(block)), block.text);

async function runDocument(file: string): Promise<void> {
  const folder = temporaryFolder();
  const { bin } = workspace(folder);
  const path = `${bin}:${process.env.PATH ?? ''}`;
  for (const block of runnable.filter((candidate) => candidate.file === file)) {
    const name = /^# (\S+\.yaml)\b/.exec(block.text)?.[1];
    if (block.language === 'yaml' && name !== undefined) writeFileSync(join(folder, name), block.text);
    if (shells.has(block.language)) {
      const { code, output } = await run('bash', ['-euo', 'pipefail', '-c', block.text], folder, { PATH: path });
      assert.equal(code, 0, `${where(block)}:\n${block.text}\n${output}`);
    } else if (block.language === 'ts') {
      mkdirSync(join(folder, 'code'), { recursive: true });
      writeFileSync(join(folder, typescript(block)), block.text);
      const env = { TSX_TSCONFIG_PATH: join(types, 'tsconfig.json') };
      const { code, output } = await run(
        process.execPath,
        ['--import', import.meta.resolve('tsx'), typescript(block)],
        folder,
        env,
      );
      assert.equal(code, 0, `${where(block)}:\n${output}`);
    }
  }
}

suite('code blocks', (test) => {
  test(`${blocks.length} blocks are found; each says its language`, () => {
    assert.ok(blocks.length > 15, `${blocks.length}`);
    assert.deepEqual(
      blocks.filter(({ language }) => !known.has(language)).map((block) => `${where(block)}: ${block.language}`),
      [],
    );
    assert.deepEqual(documents().flatMap(indentedCommands), []);
  });

  test(`${left.length} blocks are not run, each with its reason: ${left.map((block) => `${where(block)} (${block.reason})`).join('; ')}`, () => {
    assert.ok(left.length < runnable.length);
  });

  test('YAML is YAML, recipes are recipes', () => {
    for (const block of runnable.filter(({ language }) => language === 'yaml')) {
      const value: unknown = parse(block.text);
      if (isRecipe(value)) parseRecipe(block.text, where(block));
    }
  });

  test('JSON is JSON', () => {
    for (const block of runnable) {
      if (block.language === 'json') JSON.parse(block.text);
      if (block.language === 'jsonl') for (const line of block.text.trim().split('\n')) JSON.parse(line);
    }
  });

  test('TypeScript has no mistake of types', async () => {
    const { code, output } = await run(
      process.execPath,
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', types],
      types,
    );
    assert.equal(code, 0, output);
  });

  for (const file of documents()) {
    if (runnable.some((block) => block.file === file && (shells.has(block.language) || block.language === 'ts')))
      test(`${file} runs`, () => runDocument(file));
  }
});
