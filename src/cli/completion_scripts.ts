// The completion scripts of bash, zsh and fish. Each is one function that finds the command on the line, then what may stand at the cursor.

import type { RecipeKey } from '../recipe/keys.js';

/** What the shell offers for a value. `none`: numbers and free text. */
export type Values = { kind: 'files' | 'folders' | 'keys' | 'none' } | { kind: 'words'; words: readonly string[] };

export interface CompletedOption {
  /** --long, and -s where there is one. */
  flags: string[];
  description: string;
  /** undefined: a switch. */
  value: Values | undefined;
}

export interface CompletedCommand {
  /** Words from the program's name to the command's own. */
  path: string[];
  commands: { name: string; description: string }[];
  options: CompletedOption[];
  argument: Values;
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
const pathOf = ({ path }: CompletedCommand) => path.join(' ');
const withValue = ({ options }: CompletedCommand) =>
  options.flatMap((option) => (option.value ? [{ ...option, value: option.value }] : []));

/** `pattern) action ;;` for a case of bash and zsh. */
const branch = (patterns: readonly string[], action: string) => `    ${patterns.map(quoted).join(' | ')}) ${action} ;;`;

/** What stands behind an option that takes a value. */
const valuesOfOptions = (commands: readonly CompletedCommand[], offer: (values: Values) => string) =>
  commands
    .flatMap((command) =>
      withValue(command).map(({ flags, value }) =>
        branch(
          flags.map((flag) => `${pathOf(command)} ${flag}`),
          `${offer(value)}; return`,
        ),
      ),
    )
    .join('\n');

/** The words before the cursor that lead to a command. */
const steps = (commands: readonly CompletedCommand[]) => commands.slice(1).map(pathOf);

export function bash(commands: readonly CompletedCommand[], keys: readonly RecipeKey[]): string {
  const words = (list: readonly string[]) => `_gleaner_words ${quoted(list.join('\n'))}`;
  const offer = (values: Values): string => {
    switch (values.kind) {
      case 'words':
        return words(values.words);
      case 'none':
        return ':';
      default:
        return `_gleaner_${values.kind}`;
    }
  };
  return `# bash completion of gleaner; works from bash 3.2 on. In ~/.bashrc: source <(gleaner completion bash)
_gleaner_reply() { # -P PREFIX stays where bash does not take the line apart at =
  local line prefix=$1
  [[ $COMP_WORDBREAKS == *=* ]] && prefix=
  while IFS= read -r line; do COMPREPLY+=("$prefix$line"); done
}
_gleaner_words() { _gleaner_reply "$before" < <(IFS=$'\\n'; compgen -W "$1" -- "$cur"); }
_gleaner_files() { compopt -o filenames 2>/dev/null; _gleaner_reply "$before" < <(compgen -f -- "$cur"); }
_gleaner_folders() { compopt -o filenames 2>/dev/null; _gleaner_reply "$before" < <(compgen -d -- "$cur"); }
_gleaner_keys() {
  if [[ $cur != *=* ]]; then
    compopt -o nospace 2>/dev/null
    ${words(keys.map(({ key }) => `${key}=`))}
    return
  fi
  local key=\${cur%%=*}
  before=$before$key=
  cur=\${cur#*=}
  case $key in
${keys
  .filter(({ values, path }) => values.length > 0 || path)
  .map(({ key, values, path }) =>
    branch([key], [...(path ? ['_gleaner_files'] : []), ...(values.length > 0 ? [words(values)] : [])].join('; ')),
  )
  .join('\n')}
  esac
}
_gleaner() {
  local word cur prev before='' glue='' at=gleaner i words=()
  COMPREPLY=()
  for ((i = 1; i <= COMP_CWORD; i++)); do # put together what bash took apart at =
    word=\${COMP_WORDS[i]}
    if [[ $word == '=' || -n $glue ]] && ((\${#words[@]} > 0)); then
      words[\${#words[@]} - 1]+=$word
    else
      words+=("$word")
    fi
    [[ $word == '=' ]] && glue=1 || glue=''
  done
  [[ $glue && \${COMP_LINE:COMP_POINT - 1:1} == ' ' ]] && words+=('')
  cur=\${words[\${#words[@]} - 1]}
  prev=''
  ((\${#words[@]} > 1)) && prev=\${words[\${#words[@]} - 2]}
  if [[ $cur == --*=* ]]; then prev=\${cur%%=*} before=$prev= cur=\${cur#*=}; fi
  for word in "\${words[@]:0:\${#words[@]}-1}"; do
    case "$at $word" in
${branch(steps(commands), 'at="$at $word"').replace('    ', '      ')}
      *) break ;;
    esac
  done
  case "$at $prev" in
${valuesOfOptions(commands, offer)}
  esac
  case "$at $cur" in
${commands.map((command) => `    ${quoted(`${pathOf(command)} -`)}*) ${words(command.options.flatMap(({ flags }) => flags))} ;;`).join('\n')}
${commands
  .map(
    (command) =>
      `    ${quoted(`${pathOf(command)} `)}*) ${command.commands.length > 0 ? words(command.commands.map(({ name }) => name)) : offer(command.argument)} ;;`,
  )
  .reverse()
  .join('\n')}
  esac
}
complete -F _gleaner gleaner`;
}

export function zsh(commands: readonly CompletedCommand[], keys: readonly RecipeKey[]): string {
  const described = (name: string, description: string) => quoted(`${name.replaceAll(':', '\\:')}:${description}`);
  const offer = (values: Values): string => {
    switch (values.kind) {
      case 'words':
        return `compadd -- ${values.words.map(quoted).join(' ')}`;
      case 'files':
        return '_files';
      case 'folders':
        return '_files -/';
      case 'keys':
        return '_gleaner_keys';
      case 'none':
        return ':';
      default:
        return values satisfies never;
    }
  };
  const options = ({ options }: CompletedCommand) =>
    `list=(${options.flatMap(({ flags, description }) => flags.map((flag) => described(flag, description))).join(' ')}); _describe option list`;
  const subcommands = (command: CompletedCommand) =>
    `list=(${command.commands.map(({ name, description }) => described(name, description)).join(' ')}); _describe command list`;
  return `#compdef gleaner
# zsh completion of gleaner. In ~/.zshrc, after compinit: source <(gleaner completion zsh)
_gleaner_keys() {
  local key=\${\${words[CURRENT]}%%=*}
  if ! compset -P '*='; then
    compadd -S '=' -- ${keys.map(({ key }) => key).join(' ')}
    return
  fi
  case $key in
${keys
  .filter(({ values, path }) => values.length > 0 || path)
  .map(({ key, values, path }) =>
    branch(
      [key],
      [...(path ? ['_files'] : []), ...(values.length > 0 ? [`compadd -- ${values.map(quoted).join(' ')}`] : [])].join(
        '; ',
      ),
    ),
  )
  .join('\n')}
  esac
}
_gleaner() {
  local cur=\${words[CURRENT]} prev=\${words[CURRENT - 1]} at=gleaner word
  local -a list
  if [[ $cur == --*=* ]]; then
    prev=\${cur%%=*}
    compset -P 1 '*='
  fi
  for word in \${words[2,CURRENT - 1]}; do
    case "$at $word" in
${branch(steps(commands), 'at="$at $word"').replace('    ', '      ')}
      *) break ;;
    esac
  done
  case "$at $prev" in
${valuesOfOptions(commands, offer)}
  esac
  case "$at $cur" in
${commands.map((command) => `    ${quoted(`${pathOf(command)} -`)}*) ${options(command)} ;;`).join('\n')}
${commands
  .map(
    (command) =>
      `    ${quoted(`${pathOf(command)} `)}*) ${command.commands.length > 0 ? subcommands(command) : offer(command.argument)} ;;`,
  )
  .reverse()
  .join('\n')}
  esac
}
if [[ $funcstack[1] == _gleaner ]]; then _gleaner "$@"; else compdef _gleaner gleaner; fi`;
}

export function fish(commands: readonly CompletedCommand[], keys: readonly RecipeKey[]): string {
  const text = (value: string) => `'${value.replace(/[\\']/g, '\\$&')}'`;
  const offer = (values: Values): string => {
    switch (values.kind) {
      case 'words':
        return `-x -a ${text(values.words.join(' '))}`;
      case 'files':
        return '-r -F';
      case 'folders':
        return "-x -a '(__fish_complete_directories)'";
      case 'keys':
        return "-x -a '(__gleaner_keys)'";
      case 'none':
        return '-x';
      default:
        return values satisfies never;
    }
  };
  const line = (command: CompletedCommand, rest: string) =>
    `complete -c gleaner -n ${text(`__gleaner_at ${text(pathOf(command))}`)} ${rest}`;
  const option = ({ flags, description, value }: CompletedOption) => {
    const names = flags.map((flag) => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
    return `${names.join(' ')} ${value ? `${offer(value)} ` : ''}-d ${text(description)}`;
  };
  const own = (command: CompletedCommand) => [
    ...command.commands.map(({ name, description }) => line(command, `-f -a ${name} -d ${text(description)}`)),
    ...(command.commands.length === 0 && command.argument.kind !== 'files'
      ? [line(command, command.argument.kind === 'none' ? '-f' : offer(command.argument).replace('-x', '-f'))]
      : []),
    ...command.options.map((given) => line(command, option(given))),
  ];
  const values = keys.flatMap(({ key, values }) => [`${key}=`, ...values.map((value) => `${key}=${value}`)]);
  return `# fish completion of gleaner. In ~/.config/fish/config.fish: gleaner completion fish | source
function __gleaner_at
  set -l at gleaner
  for word in (commandline -opc)[2..-1]
    switch "$at $word"
      case ${steps(commands).map(text).join(' ')}
        set at "$at $word"
      case '*'
        break
    end
  end
  test "$at" = "$argv[1]"
end
function __gleaner_keys
  printf '%s\\n' ${values.join(' ')}
  switch (commandline -ct)
    case ${keys
      .filter(({ path }) => path)
      .map(({ key }) => `${text(`${key}=`)}\\*`)
      .join(' ')}
      set -l parts (string split -m 1 = -- (commandline -ct))
      printf "$parts[1]=%s\\n" (__fish_complete_path $parts[2])
  end
end
${commands.flatMap(own).join('\n')}`;
}
