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
  'failed',
  'checkpoints',
  'final',
] as const;
/** TensorBoard finds event files by this beginning of their names. */
const EVENTS = 'events.out.tfevents.';

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

  /** Versions, machine and settings that the run found. */
  get environment(): string {
    return join(this.path, 'environment.json');
  }

  /** What was warned of, one object a line. */
  get warnings(): string {
    return join(this.path, 'warnings.jsonl');
  }

  /** The metrics for TensorBoard; started: seconds since 1970. */
  events(started: number): string {
    return join(this.path, `${EVENTS}${Math.floor(started)}.gleaner`);
  }

  get report(): string {
    return join(this.path, 'report.html');
  }

  /** Rounds that have left something, in order. */
  rounds(): Promise<number[]> {
    return numbersIn(join(this.path, 'rounds'), /^(\d+)$/);
  }

  /** Steps whose samples are there, in order. */
  sampleSteps(): Promise<number[]> {
    return numbersIn(join(this.path, 'samples'), /^step-(\d+)\.arrow$/);
  }

  /** Held by the process that writes here. */
  get lock(): string {
    return join(this.path, 'lock');
  }

  /** What the policy wrote in round `round`. */
  generations(round: number): string {
    return join(this.path, 'rounds', String(round), 'generations.arrow');
  }

  /** The pairs that round `round` trains on. */
  pairs(round: number): string {
    return join(this.path, 'rounds', String(round), 'pairs.arrow');
  }

  /** The batch of a step at which the run gave up. */
  failedBatch(step: number): string {
    return join(this.path, 'failed', `step-${step}.jsonl`);
  }

  /** Answers to held-out prompts after `step` steps. */
  samples(step: number): string {
    return join(this.path, 'samples', `step-${step}.arrow`);
  }

  /** The trained model, a Hugging Face folder. */
  get final(): string {
    return join(this.path, 'final');
  }

  get checkpoints(): string {
    return join(this.path, 'checkpoints');
  }
}

/** Whether a run has left something in the folder. */
export async function holdsRun(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return info?.isDirectory() === true && (await entriesOfRun(path)).length > 0;
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
      'Choose another output, pass --resume to go on with that run, or --overwrite to replace it.',
    );
  }
}

/** Throws where an input of the new run is part of the run that it is to replace: it would be removed before it was used to the end. */
export async function checkInputsSurvive(path: string, inputs: readonly string[]): Promise<void> {
  const real = (name: string) => realpath(name).catch(() => resolve(name));
  const folder = await real(path);
  for (const input of inputs) {
    const [top = ''] = relative(folder, await real(input)).split(sep);
    if (ENTRIES.some((entry) => entry === top) || top.startsWith(EVENTS)) {
      throw new GleanerError(
        'ERR_GLEANER_USAGE',
        `${input} belongs to the run in ${path}, which --overwrite would remove`,
        'Choose another output.',
      );
    }
  }
}

export async function makeRunFolder(path: string): Promise<RunFolder> {
  await onDisk(path, () => makeFolder(path));
  return new RunFolder(path);
}

/** Removes what an earlier run left. */
export async function emptyRunFolder({ path }: RunFolder): Promise<void> {
  await onDisk(path, async () => {
    for (const name of await entriesOfRun(path)) await rm(join(path, name), { recursive: true });
  });
}

/** The run's event file; undefined: it has none. */
export async function findEvents(path: string): Promise<string | undefined> {
  const names = (await readdir(path)).filter((name) => name.startsWith(EVENTS)).sort();
  const [first] = names;
  return first === undefined ? undefined : join(path, first);
}

/** Writes beside the name, then renames: a reader sees the whole file or none. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
  await onDisk(path, async () => {
    await makeFolder(dirname(path));
    await writeWholeFile(path, content);
  });
}

async function entriesOfRun(path: string): Promise<string[]> {
  const known = new Set<string>(ENTRIES);
  return (await readdir(path)).filter((name) => known.has(name) || name.startsWith(EVENTS)).sort();
}

async function numbersIn(folder: string, pattern: RegExp): Promise<number[]> {
  const names = await readdir(folder).catch(() => []);
  const found = names.flatMap((name) => pattern.exec(name)?.[1] ?? []).map(Number);
  return found.sort((a, b) => a - b);
}
