// gleaner data inspect: what training would see of files.

import { Command, Option } from 'commander';
import { GleanerError } from '../common/errors.js';
import type { ImportOrigin, ImportResult } from '../data/import/metadata.js';
import type { EosRule, Inspection, InspectOptions, ShownRow, ShownToken } from '../data/inspect/inspect.js';
import type { HistogramSummary } from '../data/inspect/length_histogram.js';
import type { RepeatCounts, Repeats } from '../data/inspect/repeats.js';
import { formatNames } from '../data/readers.js';
import { Tokenizer } from '../data/tokenizer/tokenizer.js';
import { prepareModel } from '../recipe/prepare.js';
import { integer } from './options.js';
import { coloured, list, Progress, print, printJson, style, table } from './terminal.js';

interface Arguments {
  tokenizer?: string;
  model?: string;
  eval: string[];
  format: InspectOptions['format'];
  template: InspectOptions['template'];
  bos: InspectOptions['bos'];
  rows: number;
  limit?: number;
  maxLength?: number;
  maxPromptLength?: number;
  json?: true;
}

const HELP = `
Examples:
  gleaner data inspect train.jsonl --tokenizer models/pythia-14m --max-length 512 --eval held_out.jsonl
  gleaner data inspect data/stories --rows 1

What is trained stands in colour on a terminal, elsewhere between ⟦ and ⟧. Rows are cut as training with these limits would cut them.`;

export function dataInspectCommand(signal: AbortSignal): Command {
  return new Command('inspect')
    .description('show rows as training sees them; lengths, cuts, duplicates, leaks')
    .argument('<file...>', 'files, Hugging Face datasets folders or folders of gleaner data import')
    .option('--tokenizer <dir>', 'folder with tokenizer.json')
    .option('--model <dir>', 'model folder: its tokenizer, EOS and vocabulary')
    .option(
      '--eval <file>',
      'evaluation rows, looked for in the files; may be given several times',
      (value: string, before: string[]) => [...before, value],
      [],
    )
    .addOption(new Option('--format <name>', 'format of the files').choices(['auto', ...formatNames]).default('auto'))
    .addOption(
      new Option('--template <name>', 'chat template').choices(['auto', 'none', 'zephyr', 'chatml']).default('auto'),
    )
    .addOption(new Option('--bos <when>', 'BOS before prompts').choices(['auto', 'always', 'never']).default('auto'))
    .option('--rows <n>', 'rows shown', integer(0), 2)
    .option('--limit <n>', 'rows read at most', integer(1))
    .option('--max-length <n>', 'tokens of prompt and response at most (default: rows are not cut)', integer(1))
    .option('--max-prompt-length <n>', 'tokens kept of a prompt that is cut (default: 128)', integer(1))
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', HELP)
    .action((files: string[], options: Arguments) => inspect(files, options, signal));
}

async function inspect(sources: string[], options: Arguments, signal: AbortSignal): Promise<void> {
  const progress = new Progress();
  let found: Inspection;
  try {
    const { inspectData } = await import('../data/inspect/inspect.js');
    found = await inspectData({
      sources,
      eval: options.eval,
      format: options.format,
      limit: options.limit ?? null,
      ...(await vocabulary(sources, options)),
      template: options.template,
      bos: options.bos,
      max_length: options.maxLength ?? null,
      max_prompt_length: options.maxLength === undefined ? null : (options.maxPromptLength ?? 128),
      rows: options.rows,
      signal,
      onProgress: (stage, rows, of) => progress.update(stage, rows, of ?? Number.POSITIVE_INFINITY, 'rows'),
    });
  } finally {
    progress.stop();
  }
  if (options.json) printJson(found);
  else print(describe(found));
}

async function vocabulary(
  sources: readonly string[],
  { model, tokenizer: folder }: Arguments,
): Promise<Pick<InspectOptions, 'tokenizer' | 'eos_token_id' | 'vocab'>> {
  if (model !== undefined) {
    const { tokenizer, eos_token_id, description } = await prepareModel({ model, tokenizer: folder ?? null });
    return { tokenizer, eos_token_id, vocab: description.spec.vocab };
  }
  if (folder === undefined) {
    // Rows of ids can be looked at without. Which id is EOS, an import says; of other files no id is.
    const { importOf } = await import('../data/stream/token_file.js');
    const imported = await importOf(sources[0] ?? '');
    return { tokenizer: undefined, eos_token_id: imported?.settings.eos_token_id ?? 2 ** 31 - 1, vocab: 2 ** 31 };
  }
  const tokenizer = await Tokenizer.load(folder);
  const { eos_token_id, vocab_size } = tokenizer;
  if (eos_token_id === undefined)
    throw new GleanerError(
      'ERR_GLEANER_DATA',
      `${folder}: the tokenizer names no EOS token`,
      'Add "eos_token" to tokenizer_config.json, or give --model.',
    );
  return { tokenizer, eos_token_id, vocab: vocab_size };
}

const rules: Record<EosRule, string> = {
  appended: 'EOS appended: the answer ends there',
  of_template: 'EOS of the chat template; white space behind it is left out',
  in_text: 'EOS stood in the text, none is added',
  as_given: 'EOS among the ids as they were given',
  none_cut: 'no EOS: the answer was cut, it does not end there',
  none_as_given: 'no EOS: the ids were given without',
};

function describe(found: Inspection): string {
  const { files, imported, kinds, counts, first, eos, tokens, lengths, duplicates, leaks, rows } = found;
  const parts = [list(files.map(({ path, detail }) => [path, detail]))];
  if (imported) parts.push(describeImport(imported));
  parts.push(...rows.map(describeRow));
  const entries: [string, string][] = [
    [
      'rows',
      `${counts.kept} of ${counts.read} (${Object.entries(kinds)
        .map(([kind, count]) => `${count} ${kind}`)
        .join(', ')})`,
    ],
    ['tokens', `${tokens.total.toLocaleString('en')}, ${tokens.response.toLocaleString('en')} of them trained`],
  ];
  const reasons = { prompts_cut: counts.prompts_cut, responses_cut: counts.responses_cut, ...counts.dropped };
  for (const [reason, count] of Object.entries(reasons))
    if (count > 0) entries.push([reason, `${count}, first ${first[reason] ?? ''}`]);
  for (const [rule, count] of Object.entries(eos)) {
    if (isRule(rule)) entries.push(['EOS', `${count} rows: ${rules[rule]}`]);
  }
  parts.push(list(entries));
  const percents = Object.keys(lengths.total.percentiles);
  parts.push(
    table(
      ['tokens a row', 'mean', ...percents, 'longest'],
      Object.entries(lengths).map(([side, { mean, percentiles, longest }]) => [
        side,
        mean.toFixed(1),
        ...percents.map((name) => `${percentiles[name] ?? ''}`),
        `${longest}`,
      ]),
    ),
    histogram(lengths.total),
    `duplicates\n${repeats(duplicates, 'row')}`,
  );
  if (leaks)
    parts.push(`training rows among the ${leaks.eval_rows} evaluation rows\n${repeats(leaks, 'evaluation row')}`);
  return parts.join('\n\n');
}

function describeImport({
  gleaner_version,
  sources,
  tokenizer,
  template,
  settings,
  counts,
}: ImportOrigin & ImportResult): string {
  const { max_length, max_prompt_length } = settings;
  const gone = Object.entries(counts.dropped).map(([reason, rows]) => `, ${rows} dropped (${reason})`);
  return list([
    ['imported by', `gleaner ${gleaner_version} from ${sources.map(({ file }) => file).join(', ')}`],
    ['tokenizer', `${tokenizer.sha256.slice(0, 12)}, template ${template.name}, EOS ${settings.eos_token_id}`],
    [
      'limits',
      max_length === null ? 'none, rows are whole' : `max_length ${max_length}, max_prompt_length ${max_prompt_length}`,
    ],
    [
      'then',
      `${counts.kept} of ${counts.read} rows kept, ${counts.prompts_cut} prompts and ${counts.responses_cut} responses cut${gone.join('')}`,
    ],
  ]);
}

const isRule = (name: string): name is EosRule => Object.hasOwn(rules, name);

/** Bars of all lengths, the prompt and the response together. */
function histogram({ bins }: HistogramSummary): string {
  const most = Math.max(1, ...bins.map(([, , rows]) => rows));
  const width = Math.max(...bins.map(([, to]) => String(to - 1).length), 1);
  const lines = bins.map(([from, to, rows]) => {
    const bar = '█'.repeat(Math.max(1, Math.round((40 * rows) / most)));
    return `${String(from).padStart(width)}–${String(to - 1).padStart(width)}  ${bar} ${rows}`;
  });
  return [`rows by tokens`, ...lines].join('\n');
}

function repeats({ same_row, same_prompt, same_text }: RepeatCounts, where: string): string {
  const line = ({ rows, first }: Repeats) =>
    `${rows}${first ? `, first row ${first.row} (${first.id}) as ${where} ${first.same_as_row}` : ''}`;
  return list([
    ['  same row', line(same_row)],
    ['  same prompt', line(same_prompt)],
    ['  same but for case and punctuation', line(same_text)],
  ]);
}

const mark = (text: string) => (coloured() ? style('green', text) : `⟦${text}⟧`);

function describeRow(row: ShownRow): string {
  const text =
    row.prompt === undefined
      ? []
      : ['text', indented(`${style('dim', shown(row.prompt))}${mark(shown(row.response ?? ''))}`)];
  return [
    style('bold', `row ${row.id} (${row.kind})`),
    ...text,
    `tokens: ${row.prompt_tokens.length} of the prompt${row.prompt_cut ? ', cut' : ''}, ${row.response_tokens.length} trained${row.response_cut ? ', cut' : ''}`,
    indented(`${row.prompt_tokens.map(tokenText).join(' ')} ${mark(row.response_tokens.map(tokenText).join(' '))}`),
    `  ${rules[row.eos]}`,
  ].join('\n');
}

const longestText = 4000;

/** Control characters would act on the terminal. */
function shown(text: string): string {
  const clipped = text.length > longestText ? `${text.slice(0, longestText)}…` : text;
  return clipped.replace(/[^\P{Cc}\n\t]/gu, (one) => `\\x${one.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function tokenText({ token, special }: ShownToken): string {
  const text = shown(token).replace(/\n/g, '\\n').replace(/ /g, '␣');
  return special ? style('magenta', text) : text;
}

const indented = (text: string) => text.replace(/^/gm, '  ');
