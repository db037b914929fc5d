// Options that several commands share, and the parsing of numbers.

import { availableParallelism } from 'node:os';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { RowsFile } from '../output/rows_file.js';
import { say } from './terminal.js';

export function integer(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^[+-]?\d+$/.test(text.trim()) || !Number.isSafeInteger(value) || value < least)
      throw new InvalidArgumentError(`a whole number from ${least} on is needed.`);
    return value;
  };
}

export function number(least: number, most = Number.POSITIVE_INFINITY): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || Number.isNaN(value) || value < least || value > most) {
      throw new InvalidArgumentError(
        most === Number.POSITIVE_INFINITY
          ? `a number from ${least} on is needed.`
          : `a number from ${least} to ${most} is needed.`,
      );
    }
    return value;
  };
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
    .option('--threads <n>', 'threads', integer(1), availableParallelism())
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
