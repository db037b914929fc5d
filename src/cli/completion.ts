// gleaner completion: a script for the shell, made from the commands themselves and the recipe's schema. It holds every word, so that a Tab
// starts no process. What may stand for a value is told by its placeholder: <dir> a folder, <file> a file, <key=value> a recipe's key.

import { Argument, Command } from 'commander';
import { recipeKeys } from '../recipe/keys.js';
import { bash, type CompletedCommand, fish, type Values, zsh } from './completion_scripts.js';
import { print } from './terminal.js';

const shells = { bash, zsh, fish } as const;
type Shell = keyof typeof shells;

const HELP = `
Examples:
  source <(gleaner completion bash)       # in ~/.bashrc
  source <(gleaner completion zsh)        # in ~/.zshrc, after compinit
  gleaner completion fish | source        # in ~/.config/fish/config.fish`;

export function completionCommand(): Command {
  return new Command('completion')
    .description('print a script that completes commands, options, recipe keys and files')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(shells)))
    .addHelpText('after', HELP)
    .action((shell: Shell, _options: object, command: Command) =>
      print(shells[shell](described(command.parent ?? command), recipeKeys())),
    );
}

/** The program and all commands below it. */
function described(command: Command, above: readonly string[] = []): CompletedCommand[] {
  const help = command.createHelp();
  const path = [...above, command.name()];
  const commands = help.visibleCommands(command).filter((inner) => inner.name() !== 'help');
  const options = help.visibleOptions(command).map((option) => ({
    flags: [option.long, option.short].filter((flag) => flag !== undefined && flag !== null),
    description: option.description,
    value: option.required || option.optional ? valuesOf(option.flags, option.argChoices, 'none') : undefined,
  }));
  const [argument] = command.registeredArguments;
  const own: CompletedCommand = {
    path,
    commands: commands.map((inner) => ({ name: inner.name(), description: inner.description() })),
    options,
    argument: argument ? valuesOf(`<${argument.name()}>`, argument.argChoices, 'files') : { kind: 'none' },
  };
  return [own, ...commands.flatMap((inner) => described(inner, path))];
}

function valuesOf(placeholder: string, choices: readonly string[] | undefined, otherwise: 'files' | 'none'): Values {
  if (choices) return { kind: 'words', words: choices };
  if (/key=value/.test(placeholder)) return { kind: 'keys' };
  if (/\b(dir|dirs|folder|folders|run|runs)\b/.test(placeholder)) return { kind: 'folders' };
  return { kind: /\b(file|files|path|paths|recipe)\b/.test(placeholder) ? 'files' : otherwise };
}
