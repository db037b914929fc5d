// gleaner score: the log-probability that a model gives to each row's response.

import { Command } from 'commander';
import { readRows } from '../data/readers.js';
import { RowsFile } from '../output/rows_file.js';
import type { ScoredText } from '../recipe/language_model.js';
import { eachRow, integer, type ModelArguments, needRows, withModelOptions } from './options.js';
import { Progress, printJson, say } from './terminal.js';

interface Arguments extends ModelArguments {
  data: string;
  out?: string;
  limit?: number;
}

const HELP = `
Example:
  gleaner score --model runs/irft-stories/final --data held_out.jsonl --out scores.jsonl

Rows out: {id, logprob, token_logprobs, num_tokens, greedy}; without --out they go to stdout as JSONL.
A row that cannot be scored, or Ctrl-C, ends the command; the rows before it are kept.`;

export function scoreCommand(signal: AbortSignal): Command {
  return withModelOptions(new Command('score').description('log-probabilities of responses'))
    .requiredOption('--data <file>', 'rows with prompt and response, messages, text or ids')
    .option('--out <file>', 'rows as JSONL')
    .option('--limit <n>', 'rows read at most', integer(1))
    .addHelpText('after', HELP)
    .action((options: Arguments) => score(options, signal));
}

async function score(
  { model: path, tokenizer, template, threads, json, data, out, limit }: Arguments,
  signal: AbortSignal,
): Promise<void> {
  const { loadModel } = await import('../recipe/language_model.js');
  await using model = await loadModel(path, { tokenizer, template, threads });
  await using file = out === undefined ? undefined : await RowsFile.create(out);
  const all: ScoredText[] = [];
  let rows = 0;
  let tokens = 0;
  let logprob = 0;
  const progress = new Progress(out === undefined);
  const scored = model.score(readRows([data], { format: 'auto', limit: limit ?? null }), { signal });
  await eachRow(scored, file, async (row) => {
    ++rows;
    tokens += row.num_tokens;
    logprob += row.logprob;
    progress.update('scoring', rows, Number.POSITIVE_INFINITY, `${tokens} tokens`);
    if (file) await file.append(row);
    else if (json) all.push(row);
    else printJson(row);
  });
  progress.stop();
  needRows(rows, data);
  await file?.finish();
  const nats = -logprob / tokens;
  if (json) printJson({ rows: all, num_rows: rows, num_tokens: tokens, nats_per_token: nats, out });
  say(
    `${rows} row${rows === 1 ? '' : 's'}, ${tokens} response tokens, ${nats.toFixed(5)} nats per token${out === undefined ? '' : `, written to ${out}`}`,
  );
}
