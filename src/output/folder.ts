// The name of every file that a run writes, and the folder they lie in. A folder that holds a run is never written into unasked.

import { readdir, realpath, rm, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { GleanerError } from '../common/errors.js';
import { makeFolder } from '../common/make_folder.js';
import { onDisk } from '../common/on_disk.js';
import { writeWholeFile } from '../common/whole_file.js';

/** What a run may leave at the top of its folder; overwrite removes these and nothing else. */
const ENTRIES = [
  'recipe.yaml',
  'plan.json',
  'environment.json',
  'metrics.jsonl',
  'warnings.jsonl',
  'report.html',
  'rounds',
  'samples',
  'checkpoints',
  'final',
] as const;

export class RunFolder {
  constructor(readonly path: string) {}

  get recipe(): string {
    return join(this.path, 'recipe.yaml');
  }

  get plan(): string {
    return join(this.path, 'plan.json');
  }

  get metrics(): string {
    return join(this.path, 'metrics.jsonl');
  }

  /** The machine and the versions that a run ran with. */
  get environment(): string {
    return join(this.path, 'environment.json');
  }

  /** What was warned of, one object a line. */
  get warnings(): string {
    return join(this.path, 'warnings.jsonl');
  }

  get report(): string {
    return join(this.path, 'report.html');
  }

  /** What round `round` trained against. */
  generations(round: number): string {
    return join(this.path, 'rounds', String(round), 'generations.arrow');
  }

  /** Answers to held-out prompts after `step` steps. */
  samples(step: number): string {
    return join(this.path, 'samples', `step-${step}.arrow`);
  }

  /** Rounds whose generations are there, in order. */
  rounds(): Promise<number[]> {
    return numbersIn(join(this.path, 'rounds'), /^(\d+)$/);
  }

  /** Steps whose samples are there, in order. */
  sampleSteps(): Promise<number[]> {
    return numbersIn(join(this.path, 'samples'), /^step-(\d+)\.arrow$/);
  }

  /** The trained model, a Hugging Face folder. */
  get final(): string {
    return join(this.path, 'final');
  }

  /** The model as it was after `step` steps, a Hugging Face folder. */
  checkpointPolicy(step: number): string {
    return join(this.path, 'checkpoints', `step-${step}`, 'policy');
  }
}

/** Throws where the folder holds a run already, unless that may be overwritten. Touches nothing. */
export async function checkRunFolder(path: string, { overwrite }: { overwrite: boolean }): Promise<void> {
  const info = await stat(path).catch(() => undefined);
  if (info && !info.isDirectory())
    throw new GleanerError('ERR_GLEANER_USAGE', `output ${path} is a file`, 'Name a folder.');
  const found = info ? await entriesOfRun(path) : [];
  if (found.length > 0 && !overwrite) {
    throw new GleanerError(
      'ERR_GLEANER_USAGE',
      `output folder ${path} holds a run already: ${found.join(', ')}`,
      'Choose another output, or pass --overwrite to replace that run.',
    );
  }
}

/** Throws where an input of the new run is part of the run that it is to replace: it would be removed before it was used to the end. */
export async function checkInputsSurvive(path: string, inputs: readonly string[]): Promise<void> {
  const real = (name: string) => realpath(name).catch(() => resolve(name));
  const folder = await real(path);
  for (const input of inputs) {
    const [top = ''] = relative(folder, await real(input)).split(sep);
    if (ENTRIES.some((entry) => entry === top)) {
      throw new GleanerError(
        'ERR_GLEANER_USAGE',
        `${input} belongs to the run in ${path}, which --overwrite would remove`,
        'Choose another output.',
      );
    }
  }
}

/** Makes the folder ready for a new run; what an earlier one left is removed only with overwrite. */
export async function openRunFolder(path: string, options: { overwrite: boolean }): Promise<RunFolder> {
  await checkRunFolder(path, options);
  await onDisk(path, async () => {
    await makeFolder(path);
    for (const name of await entriesOfRun(path)) await rm(join(path, name), { recursive: true });
  });
  return new RunFolder(path);
}

/** Writes beside the name, then renames: a reader sees the whole file or none. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  await onDisk(path, async () => {
    await makeFolder(dirname(path));
    await writeWholeFile(path, content);
  });
}

async function entriesOfRun(path: string): Promise<string[]> {
  const names = new Set(await readdir(path));
  return ENTRIES.filter((name) => names.has(name));
}

async function numbersIn(folder: string, pattern: RegExp): Promise<number[]> {
  const names = await readdir(folder).catch(() => []);
  return names
    .flatMap((name) => pattern.exec(name)?.[1] ?? [])
    .map(Number)
    .sort((a, b) => a - b);
}
