// gleaner data: what is done with demonstrations before anything is trained on them.

import { Command } from 'commander';
import { dataImportCommand } from './data_import.js';
import { dataInspectCommand } from './data_inspect.js';

export function dataCommand(signal: AbortSignal): Command {
  const command = new Command('data').description('import and inspect demonstrations');
  for (const part of [dataImportCommand(signal), dataInspectCommand(signal)]) command.addCommand(part.exitOverride());
  return command.addHelpText(
    'after',
    '\nExample:\n  gleaner data import stories.jsonl --tokenizer models/pythia-14m --out data/stories',
  );
}
