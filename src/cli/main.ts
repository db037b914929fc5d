// The command line: which commands there are, and what their end means for the exit code. 0 done; 1 the work failed; 2 bad usage, recipe or
// input; 130 interrupted.

import { Command, CommanderError } from 'commander';
import { type ErrorCode, GleanerError } from '../common/errors.js';
import { version } from '../common/version.js';
import { completionCommand } from './completion.js';
import { dataCommand } from './data.js';
import { doctorCommand } from './doctor.js';
import { generateCommand } from './generate.js';
import { reportCommand } from './report.js';
import { scoreCommand } from './score.js';
import { endWithReader, say, sayError } from './terminal.js';
import { trainCommand } from './train.js';

const users: ReadonlySet<ErrorCode> = new Set([
  'ERR_GLEANER_RECIPE',
  'ERR_GLEANER_MODEL',
  'ERR_GLEANER_DATA',
  'ERR_GLEANER_USAGE',
  'ERR_GLEANER_MEMORY',
]);

/** Ctrl-C, a polite kill and a terminal that was closed end the work at the next safe point; a second one ends it at once. */
function interruption(): AbortSignal {
  const controller = new AbortController();
  const abort = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) process.exit(130);
    say(`${signal}: ending at the next safe point; once more ends at once`);
    controller.abort(signal);
  };
  process.on('SIGINT', abort);
  process.on('SIGTERM', abort);
  process.on('SIGHUP', abort);
  return controller.signal;
}

/** What holds for every command, those inside of another one too: errors are thrown, with the command's own help as the next step. */
function settled(command: Command, name: string): Command {
  command
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError(`hint: ${name} --help says what it takes.`)
    .configureHelp({ helpWidth: 100 });
  for (const inner of command.commands) settled(inner, `${name} ${inner.name()}`);
  return command;
}

async function main(): Promise<void> {
  endWithReader();
  const signal = interruption();
  const program = new Command('gleaner')
    .description('Trains a language model from demonstrations: SFT, SPIN, IRFT. https://arxiv.org/abs/2405.17888')
    .version(version())
    .addHelpText(
      'after',
      '\nExample:\n  gleaner train examples/stories/irft.yaml\n\nA command and --help shows its options and an example.',
    );
  const commands = [
    trainCommand(signal),
    generateCommand(signal),
    scoreCommand(signal),
    dataCommand(signal),
    reportCommand(),
    doctorCommand(),
    completionCommand(),
  ];
  for (const command of commands) program.addCommand(command);
  await settled(program, 'gleaner').parseAsync();
}

try {
  await main();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2; // it has said what is wrong
  const checkpoint =
    error instanceof Error && 'checkpoint' in error && typeof error.checkpoint === 'string'
      ? error.checkpoint
      : undefined;
  const next = error instanceof Error && 'next' in error && typeof error.next === 'string' ? error.next : undefined;
  if (error instanceof Error && error.name === 'AbortError') {
    say(checkpoint === undefined ? 'interrupted' : `interrupted; the policy as it was then: ${checkpoint}`);
    if (next !== undefined) say(next);
    return 130;
  }
  sayError(error);
  if (checkpoint !== undefined) say(`the policy as it was then: ${checkpoint}`);
  if (next !== undefined) say(next);
  return error instanceof GleanerError && users.has(error.code) ? 2 : 1;
}
