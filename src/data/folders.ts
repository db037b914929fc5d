// Folders of data: what Hugging Face `datasets` saves, and shards of one format in the order of their names. Names come from the folder itself
// or are checked to be plain names, so that no file outside of it is read.

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { messageOf } from '../common/errors.js';
import { clip, dataError, fileError } from './errors.js';

export interface DataFolder {
  kind: 'datasets' | 'shards';
  files: string[];
}

const shardEndings = /\.(parquet|arrow|arrows|feather|ipc|jsonl|ndjson)(\.gz)?$/i;
const state = z.object({ _data_files: z.array(z.object({ filename: z.string() })) });
const splits = z.object({ splits: z.array(z.string()) });
const info = z.object({ splits: z.record(z.string(), z.unknown()).nullish() });

/** The files of a folder in their order; undefined: the path is no folder. */
export async function dataFolder(path: string): Promise<DataFolder | undefined> {
  const found = await stat(path).catch((error: unknown) => {
    throw fileError(path, error);
  });
  if (!found.isDirectory()) return undefined;
  const names = await readdir(path).catch((error: unknown) => {
    throw fileError(path, error);
  });
  if (names.includes('state.json')) return { kind: 'datasets', files: await savedFiles(path) };
  if (names.includes('dataset_dict.json')) return onlySplit(path);
  return { kind: 'shards', files: await shards(path, names) };
}

async function savedFiles(path: string): Promise<string[]> {
  const file = join(path, 'state.json');
  const { _data_files } = await readJson(file, state, 'its list _data_files of {filename}');
  return _data_files.map(({ filename }) => join(path, plainName(file, filename)));
}

async function onlySplit(path: string): Promise<DataFolder> {
  const file = join(path, 'dataset_dict.json');
  const names = (await readJson(file, splits, 'its list splits')).splits.map((name) => plainName(file, name));
  const [first, ...others] = names;
  if (first !== undefined && others.length === 0) {
    const inner = join(path, first);
    return { kind: 'datasets', files: await savedFiles(inner) };
  }
  throw dataError(
    `${path}: a data set with ${
      names.length === 0
        ? 'no split'
        : `the splits ${names
            .slice(0, 8)
            .map((name) => clip(name, 40))
            .join(', ')}`
    }`,
    first === undefined ? undefined : `Name the folder of one: ${join(path, first)}`,
  );
}

/** One kind of file, and not several splits under one roof: they would be mixed without a word. */
async function shards(path: string, names: readonly string[]): Promise<string[]> {
  const files = names.filter((name) => shardEndings.test(name)).sort();
  if (files.length === 0)
    throw dataError(
      `${path}: this is a folder without data: no *.parquet, *.arrow, *.jsonl in it, and no state.json`,
      'Name a file, or the folder that Dataset.save_to_disk wrote.',
    );
  const endings = [...new Set(files.map((name) => shardEndings.exec(name)?.[1]?.toLowerCase() ?? ''))];
  if (endings.length > 1)
    throw dataError(`${path}: a folder with files of several formats: ${endings.join(', ')}`, 'Name the files.');
  const told = names.includes('dataset_info.json')
    ? Object.keys((await readJson(join(path, 'dataset_info.json'), info, 'splits')).splits ?? {})
    : [];
  const inNames = [...new Set(files.map(splitOf).filter((name) => name !== undefined))];
  const found = told.length > 1 ? told : inNames;
  if (found.length > 1)
    throw dataError(
      `${path}: a folder with several splits: ${found
        .slice(0, 8)
        .map((name) => clip(name, 40))
        .join(', ')}`,
      `Name the files of one, as ${join(path, files[0] ?? '')}.`,
    );
  return files.map((name) => join(path, name));
}

/** train-00000-of-00002.parquet → train; train.jsonl → train; part-1.jsonl and others tell none. */
function splitOf(name: string): string | undefined {
  const sharded = /^(.*?)[-_.]?\d+-of-\d+\./.exec(name)?.[1];
  return sharded ?? /^(train|test|valid|validation|dev|eval)\b/i.exec(name)?.[1]?.toLowerCase();
}

function plainName(file: string, name: string): string {
  if (name !== '' && name !== '.' && name !== '..' && !/[/\\\0]/.test(name)) return name;
  throw dataError(`${file}: ${JSON.stringify(clip(name, 60))} is not the name of a file in this folder`);
}

const largestJson = 2 ** 24;

async function readJson<T>(path: string, shape: z.ZodType<T>, wanted: string): Promise<T> {
  let value: unknown;
  try {
    const { size } = await stat(path);
    if (size > largestJson) throw dataError(`${path}: ${size} bytes, which is no ${wanted}`);
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError)
      throw dataError(`${path}: not JSON: ${clip(messageOf(error), 160)}`, undefined, error);
    if (error instanceof Error && 'syscall' in error) throw fileError(path, error);
    throw error;
  }
  const parsed = shape.safeParse(value);
  if (!parsed.success) throw dataError(`${path}: it lacks ${wanted}`);
  return parsed.data;
}
