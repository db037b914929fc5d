// A run's folder as data. What is missing or half-written becomes a sentence in `problems`; only a folder that is no run is an error.

import { open, readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { GleanerError, messageOf } from '../common/errors.js';
import { RunFolder } from '../output/folder.js';
import { type Generations, readGenerations } from '../output/generations.js';
import { fileLines } from './lines.js';
import { type Metrics, noMetrics, readMetrics } from './metrics.js';

/** Texts of a round or of a sample that are shown. */
const ROWS = 6;
/** Rounds, and steps with samples, that are shown. */
const MOST_SHOWN = 10;
const MOST_WARNINGS = 100;
const SMALL_FILE = 1 << 20;
/** An Arrow file has to be read whole. */
const LARGEST_ARROW = 1 << 29;

const planShape = z.looseObject({
  model: z.looseObject({ architecture: z.string(), parameters: z.number() }).optional().catch(undefined),
  data: z.record(z.string(), z.unknown()).optional().catch(undefined),
  steps: z.number().nullish().catch(undefined),
  rounds: z.array(z.unknown()).nullish().catch(undefined),
  memory: z.record(z.string(), z.number()).optional().catch(undefined),
  memory_limit_bytes: z.number().optional().catch(undefined),
});
export type Plan = z.infer<typeof planShape>;

const recipeShape = z.looseObject({
  name: z.string().optional().catch(undefined),
  method: z.string().optional().catch(undefined),
  model: z.string().optional().catch(undefined),
  seed: z.number().optional().catch(undefined),
});

const warningShape = z.looseObject({
  message: z.string(),
  step: z.number().optional().catch(undefined),
});
export type Warning = z.infer<typeof warningShape>;

/** Texts of a round, or of a step. */
export interface Texts extends Generations {
  at: number;
}

export interface RunData {
  path: string;
  /** The recipe's name, else the folder's; made unique among the runs of a report. */
  name: string;
  method: string | undefined;
  model: string | undefined;
  seed: number | undefined;
  /** recipe.yaml as it stands, and parsed. */
  recipe: { text: string; value: unknown } | undefined;
  plan: Plan | undefined;
  environment: Record<string, unknown> | undefined;
  metrics: Metrics;
  /** When metrics.jsonl was last written to. */
  written: Date | undefined;
  rounds: { all: number; shown: Texts[] };
  samples: { all: number; shown: Texts[] };
  warnings: Warning[];
  /** The trained model is there. */
  finished: boolean;
  problems: string[];
}

export async function readRun(path: string): Promise<RunData> {
  const folder = new RunFolder(path);
  await requireRun(folder);
  const problems: string[] = [];
  const say = (problem: string) => problems.push(problem);
  const recipe = await readRecipe(folder, say);
  const values = recipeShape.safeParse(recipe?.value).data;
  const plan = await readJson(folder.plan, planShape, say);
  if (plan === undefined) say('plan.json is missing or could not be read: no plan of steps and memory is shown');
  const metrics = await readMetrics(folder.metrics).catch((error: unknown) => {
    say(isMissing(error) ? 'metrics.jsonl is missing' : `metrics.jsonl could not be read: ${messageOf(error)}`);
    return noMetrics();
  });
  return {
    path,
    name: values?.name ?? basename(resolve(path)),
    method: values?.method,
    model: values?.model,
    seed: values?.seed,
    recipe,
    plan,
    environment: await readJson(folder.environment, z.record(z.string(), z.unknown()), say),
    metrics,
    written: (await stat(folder.metrics).catch(() => undefined))?.mtime,
    rounds: await readTexts(await folder.rounds(), (round) => folder.generations(round), say),
    samples: await readTexts(await folder.sampleSteps(), (step) => folder.samples(step), say),
    warnings: await readWarnings(folder.warnings),
    finished: await exists(join(folder.final, 'config.json')),
    problems: [...problems, ...metrics.problems],
  };
}

/** Throws where the folder holds no run, and names the runs below it. */
async function requireRun(folder: RunFolder): Promise<void> {
  const { path } = folder;
  const info = await stat(path).catch(() => undefined);
  if (info === undefined)
    throw new GleanerError('ERR_GLEANER_USAGE', `${path} does not exist`, 'Name the output folder of a run.');
  if (!info.isDirectory())
    throw new GleanerError('ERR_GLEANER_USAGE', `${path} is a file`, 'Name the output folder of a run.');
  if (await holdsRun(folder)) return;
  const below = (await readdir(path)).sort().map((name) => join(path, name));
  const runs: string[] = [];
  for (const name of below.slice(0, 1000)) if (await holdsRun(new RunFolder(name))) runs.push(name);
  throw new GleanerError(
    'ERR_GLEANER_USAGE',
    `${path} is not the folder of a run: neither recipe.yaml nor metrics.jsonl is in it`,
    runs.length > 0 ? `Runs below it: ${runs.slice(0, 8).join(' ')}` : 'Name the output folder of gleaner train.',
  );
}

async function holdsRun({ recipe, metrics }: RunFolder): Promise<boolean> {
  return (await exists(recipe)) || (await exists(metrics));
}

async function readRecipe({ recipe }: RunFolder, say: (problem: string) => void): Promise<RunData['recipe']> {
  const text = await readSmall(recipe, say);
  if (text === undefined) {
    say('recipe.yaml is missing or could not be read');
    return undefined;
  }
  try {
    const value: unknown = parse(text);
    return { text, value };
  } catch (error) {
    say(`recipe.yaml is not valid YAML: ${messageOf(error).split('\n')[0]}`);
    return { text, value: undefined };
  }
}

async function readJson<Shape extends z.ZodType>(
  path: string,
  shape: Shape,
  say: (problem: string) => void,
): Promise<z.infer<Shape> | undefined> {
  const text = await readSmall(path, say);
  if (text === undefined) return undefined;
  try {
    return shape.parse(JSON.parse(text));
  } catch {
    say(`${basename(path)} is not what gleaner writes`);
    return undefined;
  }
}

/** A small text file, undefined where it is missing; anything else that hinders is said. */
async function readSmall(path: string, say: (problem: string) => void): Promise<string | undefined> {
  try {
    const file = await open(path);
    try {
      const { size } = await file.stat();
      if (size <= SMALL_FILE) return await file.readFile('utf8');
      say(`${basename(path)} has ${size} bytes: too many for what it is`);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (!isMissing(error)) say(`${basename(path)} could not be read: ${messageOf(error)}`);
  }
  return undefined;
}

async function readTexts(
  places: readonly number[],
  pathOf: (at: number) => string,
  say: (problem: string) => void,
): Promise<{ all: number; shown: Texts[] }> {
  const shown: Texts[] = [];
  for (const at of spread(places, MOST_SHOWN)) {
    const path = pathOf(at);
    const size = (await stat(path).catch(() => undefined))?.size;
    if (size === undefined) continue; // the round's folder is there, its texts are not yet
    if (size > LARGEST_ARROW) {
      say(`${path} is too large to show texts of it`);
      continue;
    }
    try {
      shown.push({ at, ...(await readGenerations(path, { limit: ROWS })) });
    } catch (error) {
      say(messageOf(error));
    }
  }
  return { all: places.length, shown };
}

/** `most` of the items, the first and the last among them, at even distances. */
export function spread<Item>(items: readonly Item[], most: number): Item[] {
  if (items.length <= most) return [...items];
  return Array.from(
    { length: most },
    (_, place) => items[Math.round((place * (items.length - 1)) / (most - 1))],
  ).filter((item) => item !== undefined);
}

async function readWarnings(path: string): Promise<Warning[]> {
  const warnings: Warning[] = [];
  if (!(await exists(path))) return warnings;
  for await (const { text } of fileLines(path)) {
    try {
      warnings.push(warningShape.parse(JSON.parse(text ?? '')));
    } catch {
      // a line that is cut
    }
    if (warnings.length >= MOST_WARNINGS) break;
  }
  return warnings;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
