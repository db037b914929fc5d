// Options that several commands share, and the parsing of numbers.

import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { GleanerError } from '../common/errors.js';
import type { RowsFile } from '../output/rows_file.js';
import { say } from './terminal.js';

/** As a recipe's `threads`. */
const MOST_THREADS = 1024;

export function integer(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^[+-]?\d+$/.test(text.trim()) || !Number.isSafeInteger(value) || value < least || value > most)
      throw new InvalidArgumentError(`A whole number ${range(least, most)} is needed.`);
    return value;
  };
}

export function number(least: number, most = Number.MAX_VALUE): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || Number.isNaN(value) || value < least || value > most)
      throw new InvalidArgumentError(`A number ${range(least, most)} is needed.`);
    return value;
  };
}

function range(least: number, most: number): string {
  if (least === Number.MIN_VALUE) return `above 0 and up to ${most}`;
  return most >= Number.MAX_SAFE_INTEGER ? `from ${least} on` : `from ${least} to ${most}`;
}

const templates = ['auto', 'none', 'zephyr', 'chatml'] as const;

export interface ModelArguments {
  model: string;
  tokenizer?: string;
  template: (typeof templates)[number];
  threads: number;
  json?: true;
}

/** --model, --tokenizer, --template, --threads, --json. */
export function withModelOptions(command: Command): Command {
  return command
    .requiredOption('--model <dir>', 'Hugging Face model folder')
    .option('--tokenizer <dir>', 'folder with tokenizer.json (default: the model folder)')
    .addOption(new Option('--template <name>', 'chat template').choices(templates).default('auto'))
    .option('--threads <n>', 'threads', integer(1, MOST_THREADS), availableParallelism())
    .option('--json', 'one JSON object on stdout');
}

/** Takes what comes, one by one; where it breaks off, says where the rows before that are. */
export async function eachRow<Item>(
  items: AsyncIterable<Item>,
  file: RowsFile | undefined,
  take: (item: Item) => Promise<void>,
): Promise<void> {
  let count = 0;
  try {
    for await (const item of items) {
      await take(item);
      ++count;
    }
  } catch (error) {
    if (file && count > 0) say(`${count} row${count === 1 ? '' : 's'} written before that: ${file.part}`);
    throw error;
  }
}

/** A file without any row is most likely the wrong file. */
export function needRows(count: number, path: string): void {
  if (count === 0)
    throw new GleanerError('ERR_GLEANER_DATA', `${path}: there is no row in it`, 'docs/data.md says what a row is.');
}
