// gleaner report: one page of one run, or of several side by side.

import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { GleanerError } from '../common/errors.js';
import { RunFolder } from '../output/folder.js';
import { print, printJson } from './terminal.js';

interface Arguments {
  out?: string;
  json?: true;
}

const HELP = `
Examples:
  gleaner report runs/irft-stories
  gleaner report runs/sft runs/spin runs/irft --out compared.html

The page holds all it needs and can be sent as it is: docs/reports.md says what is on it.`;

export function reportCommand(): Command {
  return new Command('report')
    .description('curves, texts and settings of one run, or of several compared, as one HTML page')
    .argument('<run...>', 'output folders of runs')
    .option('--out <file>', 'the page (default: report.html in the run’s folder; for several runs, in the current one)')
    .option('--json', 'one JSON object on stdout')
    .addHelpText('after', HELP)
    .action(report);
}

async function report(folders: readonly string[], { out, json }: Arguments): Promise<void> {
  const [only] = folders;
  const path =
    out ?? (folders.length === 1 && only !== undefined ? new RunFolder(only).report : join('.', 'report.html'));
  if (out === undefined) await requireOwn(path);
  const { writeReport } = await import('../report/report.js');
  const runs = await writeReport(folders, path);
  if (json) printJson({ out: path, runs });
  else print(`${path}\nopen it in a browser: ${pathToFileURL(path).href}`);
}

/** A page that somebody else wrote is not replaced unasked. */
async function requireOwn(path: string): Promise<void> {
  const file = await open(path).catch(() => undefined);
  if (!file) return;
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(1024), 0, 1024, 0);
    if (bytesRead === 0 || buffer.toString('utf8', 0, bytesRead).includes('<meta name="generator" content="gleaner">'))
      return;
  } finally {
    await file.close();
  }
  throw new GleanerError(
    'ERR_GLEANER_USAGE',
    `${path} is there already, and is no report of gleaner`,
    'Pass --out FILE.',
  );
}
