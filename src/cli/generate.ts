// gleaner generate: answers to a prompt, or to each row of a file.

import { Command } from 'commander';
import { GleanerError } from '../common/errors.js';
import { readRows } from '../data/readers.js';
import type { Row } from '../data/rows.js';
import { RowsFile } from '../output/rows_file.js';
import type { GeneratedText } from '../recipe/language_model.js';
import { eachRow, integer, type ModelArguments, needRows, number, withModelOptions } from './options.js';
import { Progress, print, printJson, printPart, say } from './terminal.js';

interface Arguments extends ModelArguments {
  prompt?: string;
  data?: string;
  out?: string;
  limit?: number;
  maxNewTokens?: number;
  temperature: number;
  topP: number;
  topK: number;
  num: number;
  seed: number;
  stop: string[];
  chat?: true;
}

const HELP = `
Examples:
  gleaner generate --model runs/irft-stories/final --prompt "Once upon a time"
  gleaner generate --model runs/irft-stories/final --data prompts.jsonl --num 4 --out answers.jsonl

What --data may hold: docs/data.md. Rows out: {id, prompt, response, prompt_ids, response_ids, logprob, finish_reason}; without --out they go to stdout as JSONL.
Ctrl-C keeps the answers that are whole.`;

export function generateCommand(signal: AbortSignal): Command {
  return withModelOptions(new Command('generate').description('sample answers to prompts'))
    .option('--prompt <text>', 'one prompt; its answer is streamed as text')
    .option('--data <file>', 'rows with a prompt or messages')
    .option('--out <file>', 'rows as JSONL')
    .option('--limit <n>', 'rows read at most', integer(1))
    .option(
      '--max-new-tokens <n>',
      'tokens of an answer at most (default: 256, or half of the positions that the model has)',
      integer(1),
    )
    .option('--temperature <t>', '0 is greedy', number(0), 1)
    .option('--top-p <p>', 'the smallest set of tokens with this much probability', number(Number.MIN_VALUE, 1), 1)
    .option('--top-k <k>', 'the k likeliest tokens; 0: off', integer(0), 0)
    .option('--num <n>', 'answers to each prompt', integer(1), 1)
    .option('--seed <s>', 'seed of the sampling', integer(0), 42)
    .option(
      '--stop <text>',
      'text that ends an answer; may be given several times',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .option('--chat', 'the prompt is a message to a chat model')
    .addHelpText('after', HELP)
    .action((options: Arguments) => generate(options, signal));
}

async function generate(options: Arguments, signal: AbortSignal): Promise<void> {
  if ((options.prompt === undefined) === (options.data === undefined)) {
    throw new GleanerError(
      'ERR_GLEANER_USAGE',
      options.prompt === undefined ? 'neither --prompt nor --data was given' : '--prompt and --data were both given',
      'Give one of the two.',
    );
  }
  if (options.stop.includes(''))
    throw new GleanerError('ERR_GLEANER_USAGE', '--stop is empty', 'Give the text that ends an answer.');
  const { model: path, tokenizer, template, threads, json } = options;
  const { loadModel } = await import('../recipe/language_model.js');
  await using model = await loadModel(path, { tokenizer, template, threads });
  const streams = options.prompt !== undefined && options.num === 1 && !json && options.out === undefined;
  const progress = new Progress(options.out === undefined); // rows on stdout are progress enough
  let tokens = 0;
  const answers = model.generate(rowsOf(options), {
    max_new_tokens: options.maxNewTokens,
    temperature: options.temperature,
    top_p: options.topP,
    top_k: options.topK,
    seed: options.seed,
    num: options.num,
    stop: options.stop,
    signal,
    ...(streams && { onText: ({ text }) => printPart(text) }),
  });
  await using file = options.out === undefined ? undefined : await RowsFile.create(options.out);
  const started = performance.now();
  let count = 0;
  const all: GeneratedText[] = [];
  await eachRow(answers, file, async (answer) => {
    tokens += answer.response_ids.length;
    ++count;
    progress.update('generation', count, Number.POSITIVE_INFINITY, `${tokens} tokens`);
    if (file) await file.append(rowOf(answer, options.num));
    else if (json) all.push(answer);
    else if (streams) print('');
    else printJson(rowOf(answer, options.num));
  });
  if (options.data !== undefined) needRows(count, options.data);
  await file?.finish();
  progress.stop();
  const rate = Math.round(tokens / ((performance.now() - started) / 1000));
  if (json)
    printJson({
      rows: all.map((answer) => rowOf(answer, options.num)),
      num_tokens: tokens,
      tokens_per_second: rate,
      out: options.out,
    });
  say(
    `${count} answer${count === 1 ? '' : 's'}, ${tokens} tokens, ${rate} tokens/s${options.out === undefined ? '' : `, written to ${options.out}`}`,
  );
}

async function* rowsOf({ prompt, data, chat, limit }: Arguments): AsyncGenerator<Row> {
  if (prompt !== undefined) {
    yield chat ? chatRow({ kind: 'prompt', id: '0', prompt }) : { kind: 'prompt', id: '0', prompt };
    return;
  }
  for await (const row of readRows([data ?? ''], { format: 'auto', limit: limit ?? null }))
    yield chat ? chatRow(row) : row;
}

function chatRow(row: Row): Row {
  if (row.kind === 'messages') return row;
  if (row.kind === 'prompt' || row.kind === 'prompt_response')
    return { kind: 'messages', id: row.id, messages: [{ role: 'user', content: row.prompt }] };
  throw new GleanerError(
    'ERR_GLEANER_DATA',
    `row ${row.id}: --chat needs rows with a prompt or messages`,
    'Leave out --chat, or give such rows.',
  );
}

function rowOf(answer: GeneratedText, num: number): object {
  const { sample, ...row } = answer;
  return num === 1 ? row : { ...row, sample };
}
