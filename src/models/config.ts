// config.json: reading it, checking it with zod, and refusing by name what the engine would compute wrongly.
// Absent keys take the defaults of transformers' config classes (5.18), so a file means here what it means there.

import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { isObject, type JsonObject, modelError, parseJsonObject, show } from './json.js';

export type Config = JsonObject;

const MAX_JSON_BYTES = 100_000_000;

/** Reads a regular file whole; its size is known and limited before memory is taken. */
export async function readSmallFile(path: string): Promise<Uint8Array> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path, 'r');
  } catch (cause) {
    throw modelError(
      `${path}: cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      undefined,
      cause,
    );
  }
  try {
    const info = await file.stat();
    if (!info.isFile()) throw modelError(`${path}: not a regular file`);
    if (info.size > MAX_JSON_BYTES)
      throw modelError(`${path}: ${info.size} bytes; at most ${MAX_JSON_BYTES} were expected`);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

export async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (info) => info.isFile(),
    () => false,
  );
}

/** From a model folder, or from the path of a config.json. */
export async function readConfig(path: string): Promise<Config> {
  const info = await stat(path).catch(() => undefined);
  if (!info)
    throw modelError(
      `${path}: no such file or folder`,
      'A model is a Hugging Face folder with config.json and model.safetensors.',
    );
  if (!info.isDirectory() && !info.isFile()) throw modelError(`${path}: neither a file nor a folder`);
  const file = info.isDirectory() ? join(path, 'config.json') : path;
  if (info.isDirectory() && !(await isFile(file))) {
    throw modelError(
      `${path}: no config.json in this folder`,
      'A model is a Hugging Face folder with config.json and model.safetensors.',
    );
  }
  return parseJsonObject(await readSmallFile(file), file);
}

/** Checks against a schema; the first fault is named with its key and the value found. */
export function checkConfig<Schema extends z.ZodType>(schema: Schema, config: Config): z.output<Schema> {
  const result = schema.safeParse(config.values);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path ?? [];
  throw modelError(
    `${config.file}: ${path.join('.') || 'the file'} is ${show(valueAt(config.values, path))}: ${issue?.message ?? 'not valid'}`,
  );
}

function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => {
    if (Array.isArray(value) && typeof key === 'number') return value[key];
    return isObject(value) && typeof key === 'string' && Object.hasOwn(value, key) ? value[key] : undefined;
  }, values);
}

/** The value would be computed wrongly, or cannot be computed. */
export function refuse(config: Config, key: string, value: unknown, why: string, hint?: string): never {
  throw modelError(`${config.file}: ${key} is ${show(value)}: ${why}`, hint);
}

// Far above any published model, and low enough that a damaged number cannot ask for more memory than a machine has.
const size = z
  .int()
  .min(1)
  .max(2 ** 24);
const tokenId = z.int();

/** A side of a matrix, with its default. Not 1: native tells a vector from a matrix by its single row. */
export const sizeField = (absent: number) => size.min(2).default(absent);
export const epsField = (absent: number) => z.number().positive().max(1).default(absent);
export const optionalSize = size.nullish();

/** Fields that every family has. */
export const commonFields = {
  num_hidden_layers: z.int().min(1).max(1000),
  num_attention_heads: z.int().min(1).max(1000),
  initializer_range: z.number().min(0).max(1).default(0.02),
  tie_word_embeddings: z.boolean().default(false),
  bos_token_id: tokenId.nullish(),
  eos_token_id: z.union([tokenId, z.array(tokenId)]).nullish(),
  dtype: z.string().nullish(),
  torch_dtype: z.string().nullish(),
};

/** Keys that change what is computed and that no family here obeys. */
export function refuseUnsupported(config: Config): void {
  const { values } = config;
  if (values.quantization_config !== undefined && values.quantization_config !== null) {
    refuse(
      config,
      'quantization_config',
      values.quantization_config,
      'quantised weights are not supported',
      'Use the fp32, fp16 or bf16 folder of this model.',
    );
  }
  const perLayer = values.per_layer_config;
  if (perLayer !== undefined && perLayer !== null && !(isObject(perLayer) && Object.keys(perLayer).length === 0)) {
    refuse(config, 'per_layer_config', perLayer, 'layers that differ from each other are not supported');
  }
  for (const key of ['is_encoder_decoder', 'add_cross_attention']) {
    if (values[key] === true) refuse(config, key, true, 'only decoders are supported');
  }
}

/** A key that this family does not obey may only be absent, null or one of the values that change nothing. */
export function refuseUnless(config: Config, key: string, harmless: readonly unknown[], why: string): void {
  const value = config.values[key];
  if (value !== undefined && value !== null && !harmless.includes(value)) refuse(config, key, value, why);
}

export type Dtype = 'F32' | 'F16' | 'BF16';
const DTYPE_NAMES: Record<Dtype, string> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };
const DTYPES: readonly Dtype[] = ['F32', 'F16', 'BF16'];

/** As config.json spells a safetensors dtype. */
export function dtypeName(dtype: Dtype): string {
  return DTYPE_NAMES[dtype];
}

/** `dtype` (transformers 5) wins over `torch_dtype` (transformers 4); neither: float32. */
export function configDtype(
  config: Config,
  fields: { dtype?: string | null | undefined; torch_dtype?: string | null | undefined },
): Dtype {
  const name = fields.dtype ?? fields.torch_dtype ?? 'float32';
  const key = fields.dtype ? 'dtype' : 'torch_dtype';
  return (
    DTYPES.find((dtype) => DTYPE_NAMES[dtype] === name) ??
    refuse(config, key, name, 'float32, float16 and bfloat16 are supported')
  );
}

/** One id, a list or none; `absent` is the config class's default. */
export function tokenIds(value: number | number[] | null | undefined, absent: number[]): number[] {
  if (value === undefined) return absent;
  if (value === null) return [];
  return typeof value === 'number' ? [value] : value;
}
