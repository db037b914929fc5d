// The code blocks of the documents, and a folder in which their commands work: a small model, demonstrations, prompts and a recipe.
//
//   <!-- not run: REASON -->     right above a block: it cannot run in a test
//   # recipe.yaml                as first line of a YAML block: the commands after it find it under this name

import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
/** Written by tools, not by people: signatures without a body. */
const generated = new Set(['docs/api.md']);

export interface Block {
  file: string;
  line: number;
  language: string;
  text: string;
  /** Why it is not run. */
  reason: string | undefined;
}

export function documents(): string[] {
  const markdown = (folder: string) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !/(^|\/)(runs|node_modules)\//.test(name))
      .map((name) => join(folder, name));
  const top = ['README.md', 'CONTRIBUTING.md', 'ARCHITECTURE.md'];
  return [...top, ...markdown('docs'), ...markdown('examples'), 'bench/README.md']
    .filter((file) => !generated.has(file))
    .sort();
}

export function blocksOf(file: string): Block[] {
  const lines = readFileSync(join(root, file), 'utf8').split('\n');
  const blocks: Block[] = [];
  let open: (Block & { indent: string }) | undefined;
  for (const [place, line] of lines.entries()) {
    const fence = /^(\s*)```(.*)$/.exec(line);
    if (open && fence) {
      const { indent, ...block } = open;
      blocks.push(block);
      open = undefined;
    } else if (open) {
      open.text += `${line.startsWith(open.indent) ? line.slice(open.indent.length) : line}\n`;
    } else if (fence) {
      const reason = /<!-- not run: (.+) -->/.exec(lines.slice(Math.max(0, place - 2), place).join('\n'))?.[1];
      open = { file, line: place + 1, language: fence[2]?.trim() ?? '', text: '', reason, indent: fence[1] ?? '' };
    }
  }
  if (open) throw new Error(`${file}:${open.line}: this block does not end`);
  return blocks;
}

/** Lines of indented code that look like commands: these would never be run. */
export function indentedCommands(file: string): string[] {
  let fenced = false;
  return readFileSync(join(root, file), 'utf8')
    .split('\n')
    .flatMap((line, place) => {
      if (/^\s*```/.test(line)) fenced = !fenced;
      return !fenced && /^ {4,}(\$ )?(npx|npm|gleaner|node|git|cmake|pip|apt-get) /.test(line)
        ? [`${file}:${place + 1}: ${line.trim()}`]
        : [];
    });
}

/** Numbers of a model that has room for what the documents ask for; the weights are those of the example. */
const POSITIONS = 1024;

/** Where a document speaks of a recipe without showing it. */
const RECIPE = `method: sft
model: models/my-model
data: { train: demonstrations.jsonl, max_length: 96, max_prompt_length: 64 }
train: { max_steps: 4 }
`;

/** A folder like that of a reader, with `bin` in front of PATH. */
export function workspace(folder: string): { bin: string } {
  const base = join(root, 'examples/quickstart');
  cpSync(join(base, 'base/1'), join(folder, 'models/my-model'), { recursive: true });
  const config = join(folder, 'models/my-model/config.json');
  const values: object = JSON.parse(readFileSync(config, 'utf8'));
  writeFileSync(config, JSON.stringify({ ...values, max_position_embeddings: POSITIONS }));
  const rows = (name: string, from: number, to: number) =>
    `${readFileSync(join(base, 'data', name), 'utf8')
      .split('\n')
      .slice(from, to)
      .join('\n')}\n`;
  writeFileSync(join(folder, 'demonstrations.jsonl'), rows('demonstrations-1-clean.jsonl', 0, 120));
  writeFileSync(join(folder, 'held_out.jsonl'), rows('test.jsonl', 0, 6));
  writeFileSync(join(folder, 'prompts.jsonl'), rows('test.jsonl', 6, 10));
  writeFileSync(join(folder, 'recipe.yaml'), RECIPE);
  // Other names that the documents use for the same.
  symlinkSync('my-model', join(folder, 'models/pythia-14m'));
  for (const name of ['train.jsonl', 'stories.jsonl']) symlinkSync('demonstrations.jsonl', join(folder, name));
  symlinkSync(join(root, 'examples'), join(folder, 'examples'));
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  const script = (name: string, text: string) => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  script('gleaner', `exec "${process.execPath}" "${join(root, 'bin/gleaner.mjs')}" "$@"`);
  script('npx', '[ "$1" = gleaner ] || { echo "npx $1: not here" >&2; exit 1; }\nexec "$@"');
  return { bin };
}
