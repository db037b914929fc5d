// gleaner data import: files of any kind to Arrow files of token ids.

import { availableParallelism } from 'node:os';
import { Command, Option } from 'commander';
import { GleanerError } from '../common/errors.js';
import { version } from '../common/version.js';
import type { ImportOptions, ImportOutcome } from '../data/import/import.js';
import type { HistogramSummary } from '../data/inspect/length_histogram.js';
import { formatNames } from '../data/readers.js';
import { readConfigOnly } from '../models/folder.js';
import { integer } from './options.js';
import { list, Progress, print, printJson, say, table } from './terminal.js';

interface Arguments {
  tokenizer: string;
  out: string;
  format: ImportOptions['format'];
  template: ImportOptions['template'];
  bos: ImportOptions['bos'];
  maxLength?: number;
  maxPromptLength?: number;
  limit?: number;
  workers: number;
  overwrite?: true;
  json?: true;
}

/** As recipes have it: the prompt's tokens that are kept where a row is too long. */
const MAX_PROMPT_LENGTH = 128;

const HELP = `
Examples:
  gleaner data import stories.jsonl --tokenizer models/pythia-14m --out data/stories
  gleaner data import train.jsonl.gz more.parquet --tokenizer models/pythia-14m --out data/hh --max-length 512

Writes DIR/data-00000-of-00001.arrow and so on (columns id, prompt_ids, response_ids) and DIR/summary.json. Set data.train to DIR in a recipe.
Interrupted and run again, it goes on where it was. Without --max-length rows are stored whole; training cuts them.`;

export function dataImportCommand(signal: AbortSignal): Command {
  return new Command('import')
    .description('tokenise rows into Arrow files that training streams')
    .argument('<file...>', 'files or Hugging Face datasets folders')
    .requiredOption('--tokenizer <dir>', 'folder with tokenizer.json')
    .requiredOption('--out <dir>', 'folder for the files')
    .addOption(new Option('--format <name>', 'format of the files').choices(['auto', ...formatNames]).default('auto'))
    .addOption(new Option('--template <name>', 'chat template').choices(templates).default('auto'))
    .addOption(new Option('--bos <when>', 'BOS before prompts').choices(['auto', 'always', 'never']).default('auto'))
    .option('--max-length <n>', 'tokens of prompt and response at most; longer rows are cut', integer(1))
    .option('--max-prompt-length <n>', 'tokens kept of a prompt that is cut (default: 128)', integer(1))
    .option('--limit <n>', 'rows read at most', integer(1))
    .option('--workers <n>', 'threads that tokenise', integer(1), availableParallelism())
    .option('--overwrite', 'start anew where an import stands already')
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', HELP)
    .action((files: string[], options: Arguments) => run(files, options, signal));
}

const templates = ['auto', 'none', 'zephyr', 'chatml'] as const;

async function run(sources: string[], options: Arguments, signal: AbortSignal): Promise<void> {
  const { tokenizer, out, format, template, bos, limit, workers, json } = options;
  if (options.maxLength === undefined && options.maxPromptLength !== undefined)
    throw new GleanerError(
      'ERR_GLEANER_USAGE',
      '--max-prompt-length without --max-length cuts nothing',
      'Give --max-length as well, or leave both out: training cuts rows by the recipe.',
    );
  const { importData } = await import('../data/import/import.js');
  const progress = new Progress();
  const started = { at: 0 };
  let outcome: ImportOutcome;
  try {
    outcome = await importData({
      sources,
      tokenizer,
      out,
      format,
      template,
      bos,
      max_length: options.maxLength ?? null,
      max_prompt_length: options.maxLength === undefined ? null : (options.maxPromptLength ?? MAX_PROMPT_LENGTH),
      limit: limit ?? null,
      workers,
      overwrite: options.overwrite ?? false,
      gleaner_version: version(),
      signal,
      otherEos: () => eosOfModel(tokenizer),
      onProgress: (event) => {
        if (event.stage === 'hashing')
          progress.update('hashing', megabytes(event.bytes), megabytes(event.total_bytes), 'MB');
        else if (event.stage === 'recognised')
          for (const { path, detail } of event.files) progress.log.info(`${path}: ${detail}`);
        else if (event.stage === 'resumed')
          progress.log.info(`going on behind row ${event.rows} of an import that was broken off`);
        else {
          started.at ||= performance.now();
          const seconds = Math.max(1e-3, (performance.now() - started.at) / 1000);
          const [rows, tokens] = [event.fresh_rows, event.fresh_tokens].map((count) => Math.round(count / seconds));
          progress.update(
            'importing',
            event.rows,
            event.total_rows ?? Number.POSITIVE_INFINITY,
            `${rows} rows/s  ${tokens} tokens/s`,
          );
        }
      },
    });
  } finally {
    progress.stop();
  }
  if (json) printJson({ out, ...outcome });
  else print(describe(out, outcome));
}

/** A model folder may name the EOS that its tokenizer does not. */
async function eosOfModel(folder: string): Promise<number | undefined> {
  const config = await readConfigOnly(folder).catch(() => undefined);
  return config?.description.eos_token_ids[0];
}

const megabytes = (bytes: number) => Math.round(bytes / 1e6);

function describe(out: string, { status, summary }: ImportOutcome): string {
  const { counts, first, tokens, lengths, shards, tokenizer, template } = summary;
  const entries: [string, string][] = [
    ['rows', `${counts.kept} of ${counts.read}`],
    ['tokens', `${tokens.total.toLocaleString('en')} (${tokens.prompt.toLocaleString('en')} of prompts)`],
  ];
  const what = { prompts_cut: counts.prompts_cut, responses_cut: counts.responses_cut, ...counts.dropped };
  for (const [reason, rows] of Object.entries(what))
    if (rows > 0) entries.push([reason, `${rows}, first ${first[reason] ?? ''}`]);
  entries.push(
    ['tokenizer', `${tokenizer.sha256.slice(0, 12)}, template ${template.name}`],
    ['files', `${shards.length} in ${out}, ${megabytes(shards.reduce((sum, { bytes }) => sum + bytes, 0))} MB`],
  );
  if (status === 'up_to_date') say(`${out} is up to date: nothing was done`);
  const sides = Object.entries(lengths).map(([side, histogram]) => [side, ...percentiles(histogram)]);
  return `${list(entries)}\n\n${table(['tokens a row', 'p5', 'p50', 'p95', 'p99', 'longest'], sides)}`;
}

function percentiles({ percentiles: all, longest }: HistogramSummary): string[] {
  return [all.p5, all.p50, all.p95, all.p99, longest].map(String);
}
