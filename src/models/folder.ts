// A Hugging Face model folder, opened: what it computes, and for every parameter where its rows lie in which file.
// All JSON is read and checked here; native gets paths, numbers and offsets.

import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type Config, type Dtype, isFile, readConfig, readSmallFile, tokenIds } from './config.js';
import { checkTokenId, describeModel, familyOf } from './families.js';
import type { Family } from './family.js';
import { clip, isObject, modelError, parseJsonObject, show } from './json.js';
import { readSafetensors, type TensorEntry } from './safetensors.js';
import type { ModelDescription } from './spec.js';

/** Rows [row, row + rows) of a parameter, in the order in which the file has them, without gaps. */
export interface ParameterSource {
  /** Canonical name. */
  parameter: string;
  row: number;
  rows: number;
  cols: number;
  file: string;
  /** Of the first byte, from the start of the file. */
  offset: number;
  dtype: Dtype;
}

export interface ModelFolder {
  path: string;
  config: Config;
  description: ModelDescription;
  sources: ParameterSource[];
  /** Files that a saved copy of this model takes along unchanged, those that exist. */
  files: string[];
  /** Path of tokenizer.json, if there is one. */
  tokenizer: string | undefined;
}

const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
  'chat_template.json',
];
const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

/** What config.json alone says: for plans without weights and for `init: random`. A folder, or the path of a config.json. */
export async function readConfigOnly(
  path: string,
): Promise<{ config: Config; description: ModelDescription; files: string[] }> {
  const config = await readConfig(path);
  const description = describeModel(config);
  const folder = (await stat(path)).isDirectory() ? path : undefined;
  return folder === undefined
    ? { config, description, files: [] }
    : {
        config,
        description: await withGenerationConfig(folder, config, description),
        files: await filesToKeep(folder),
      };
}

export async function openModelFolder(path: string): Promise<ModelFolder> {
  const info = await stat(path).catch(() => undefined);
  if (info && !info.isDirectory())
    throw modelError(`${path}: not a folder`, 'Give the folder that holds config.json and model.safetensors.');
  const { config, description, files } = await readConfigOnly(path);
  const found = await readWeights(path);
  const sources = await matchTensors(path, familyOf(config), description, found);
  const tokenizer = join(path, 'tokenizer.json');
  return { path, config, description, sources, files, tokenizer: (await isFile(tokenizer)) ? tokenizer : undefined };
}

/** The files beside the weights that a saved model takes along: generation_config.json and those of the tokenizer. */
export async function filesToKeep(path: string, tokenizerPath: string = path): Promise<string[]> {
  const files = [join(path, 'generation_config.json'), ...TOKENIZER_FILES.map((name) => join(tokenizerPath, name))];
  const exist = await Promise.all(files.map(isFile));
  return files.filter((_, index) => exist[index]);
}

/** generation_config.json wins over config.json, as in transformers' generate. */
async function withGenerationConfig(
  path: string,
  config: Config,
  description: ModelDescription,
): Promise<ModelDescription> {
  const file = join(path, 'generation_config.json');
  if (!(await isFile(file))) return description;
  const { values } = parseJsonObject(await readSmallFile(file), file);
  const parsed = z
    .union([z.int(), z.array(z.int())])
    .nullish()
    .safeParse(values.eos_token_id);
  if (!parsed.success)
    throw modelError(`${file}: eos_token_id is ${show(values.eos_token_id)}: a token id or a list of them is needed`);
  if (parsed.data === undefined || parsed.data === null) return description;
  const eos_token_ids = tokenIds(parsed.data, []);
  for (const id of eos_token_ids) checkTokenId({ ...config, file }, 'eos_token_id', id, description);
  return { ...description, eos_token_ids };
}

interface FoundTensor extends TensorEntry {
  file: string;
}

async function readWeights(path: string): Promise<Map<string, FoundTensor>> {
  const single = join(path, SINGLE);
  if (await isFile(single)) {
    const { tensors } = await readSafetensors(single);
    return new Map([...tensors].map(([name, tensor]) => [name, { ...tensor, file: single }]));
  }
  const index = join(path, INDEX);
  if (await isFile(index)) return readShards(path, index);
  const others = (await readdir(path)).filter((name) => /\.(bin|pt|pth|h5|msgpack|gguf|safetensors)$/.test(name));
  throw modelError(
    `${path}: neither ${SINGLE} nor ${INDEX} in this folder${others.length > 0 ? `, but ${show(others)}` : ''}`,
    others.length > 0
      ? 'Save the model as safetensors: model.save_pretrained(folder) in transformers does.'
      : 'Without weights a model can only start anew: init: random.',
  );
}

/** The index says which file holds which tensor; both must tell the same. */
async function readShards(path: string, index: string): Promise<Map<string, FoundTensor>> {
  const weightMap = parseJsonObject(await readSmallFile(index), index).values.weight_map;
  if (!isObject(weightMap))
    throw modelError(`${index}: weight_map is ${show(weightMap)}: an object from tensor to file is needed`);
  const names = new Map<string, string>(); // tensor → file name
  for (const [tensor, name] of Object.entries(weightMap)) {
    // A plain name: a path could lead out of the folder.
    if (typeof name !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(name)) {
      throw modelError(
        `${index}: the file of tensor ${clip(tensor)} is ${show(name)}: the name of a .safetensors file in this folder is needed`,
      );
    }
    names.set(tensor, name);
  }
  const tensors = new Map<string, FoundTensor>();
  for (const name of new Set(names.values())) {
    const file = join(path, name);
    if (!(await isFile(file)))
      throw modelError(
        `${index}: names ${clip(name)}, which is not in the folder`,
        'A part of the model is missing; copy or download it again.',
      );
    for (const [tensor, entry] of (await readSafetensors(file)).tensors) {
      const said = names.get(tensor);
      if (said === undefined) throw modelError(`${file}: tensor ${clip(tensor)} is not in ${INDEX}`);
      if (said !== name) throw modelError(`${file}: tensor ${clip(tensor)} belongs to ${clip(said)} by ${INDEX}`);
      tensors.set(tensor, { ...entry, file });
    }
  }
  for (const [tensor, name] of names) {
    if (!tensors.has(tensor)) throw modelError(`${index}: tensor ${clip(tensor)} is not in ${clip(name)}`);
  }
  return tensors;
}

async function matchTensors(
  path: string,
  family: Family,
  description: ModelDescription,
  found: Map<string, FoundTensor>,
): Promise<ParameterSource[]> {
  const left = new Map(found);
  const chosen = new Map<string, FoundTensor>();
  const missing: string[] = [];
  const [headName, ...otherHeadNames] = family.head_names;
  const take = (names: readonly string[]): FoundTensor | undefined => {
    const name = names.find((candidate) => left.has(candidate));
    const tensor = name === undefined ? undefined : left.get(name);
    if (name !== undefined) left.delete(name);
    return tensor;
  };

  for (const { name, shape } of description.tensors) {
    const tensor = take(name === headName ? [headName, ...otherHeadNames] : [name]);
    if (!tensor) {
      missing.push(name);
      continue;
    }
    checkShape(tensor, shape);
    chosen.set(name, tensor);
  }
  if (description.spec.tied_head) await tieHead(family, description, chosen, missing, take);
  for (const name of left.keys()) if (family.ignored.test(name)) left.delete(name);

  if (missing.length > 0) {
    const head = !description.spec.tied_head && missing.length === 1 && missing[0] === headName;
    const hint = head
      ? 'If the head shares the embedding, config.json must say "tie_word_embeddings": true.'
      : undefined;
    throw modelError(
      `${path}: ${counted(missing, 'tensor')} of ${description.architecture} missing: ${listed(missing)}`,
      hint,
    );
  }
  if (left.size > 0) {
    const [first] = left.values();
    const names = [...left.keys()];
    throw modelError(
      `${first?.file ?? path}: ${counted(names, 'tensor')} that ${description.architecture} with this config.json does not have: ${listed(names)}`,
    );
  }
  return sourcesOf(description, chosen);
}

/** A tied model has one matrix; a file may hold it under either name, or twice. Two that differ are two models: transformers unties them. */
async function tieHead(
  family: Family,
  description: ModelDescription,
  chosen: Map<string, FoundTensor>,
  missing: string[],
  take: (names: readonly string[]) => FoundTensor | undefined,
): Promise<void> {
  const embedName = description.parameters[0]?.slices[0]?.tensor ?? '';
  const head = take(family.head_names);
  if (!head) return;
  checkShape(head, [description.spec.vocab, description.spec.hidden]);
  const embed = chosen.get(embedName);
  if (!embed) {
    chosen.set(embedName, head);
    missing.splice(missing.indexOf(embedName), 1);
  } else if (embed.dtype !== head.dtype || !(await sameBytes(embed, head))) {
    throw modelError(
      `${head.file}: tensor ${head.name} differs from ${embed.name}, but config.json says "tie_word_embeddings": true`,
      'Set "tie_word_embeddings" to false in config.json to use both.',
    );
  }
}

function checkShape(tensor: FoundTensor, shape: readonly number[]): void {
  if (tensor.shape.length !== shape.length || tensor.shape.some((size, index) => size !== shape[index])) {
    throw modelError(
      `${tensor.file}: tensor ${tensor.name} has shape ${show(tensor.shape)}, config.json asks for ${show([...shape])}`,
    );
  }
}

function storedDtype(tensor: FoundTensor): Dtype {
  const { dtype } = tensor;
  if (dtype === 'F32' || dtype === 'F16' || dtype === 'BF16') return dtype;
  throw modelError(`${tensor.file}: tensor ${tensor.name} has dtype ${dtype}; F32, F16 and BF16 are supported`);
}

async function sameBytes(a: FoundTensor, b: FoundTensor): Promise<boolean> {
  const files = [await open(a.file, 'r'), await open(b.file, 'r')] as const;
  try {
    const chunk = Math.min(2 ** 20, a.bytes);
    const buffers = [Buffer.alloc(chunk), Buffer.alloc(chunk)] as const;
    for (let done = 0; done < a.bytes; ) {
      const want = Math.min(chunk, a.bytes - done);
      const [first, second] = await Promise.all([
        files[0].read(buffers[0], 0, want, a.offset + done),
        files[1].read(buffers[1], 0, want, b.offset + done),
      ]);
      const got = Math.min(first.bytesRead, second.bytesRead);
      if (got === 0) throw modelError(`${a.file}: the file became shorter while it was read`);
      if (!buffers[0].subarray(0, got).equals(buffers[1].subarray(0, got))) return false;
      done += got;
    }
    return true;
  } finally {
    await Promise.all(files.map((file) => file.close()));
  }
}

const DTYPE_BYTES: Record<Dtype, number> = { F32: 4, F16: 2, BF16: 2 };

function sourcesOf(description: ModelDescription, chosen: ReadonlyMap<string, FoundTensor>): ParameterSource[] {
  const sources: ParameterSource[] = [];
  for (const { name, cols, slices } of description.parameters) {
    for (const { tensor, tensor_row, row, rows } of slices) {
      const found = chosen.get(tensor);
      if (!found) throw modelError(`${description.architecture}: tensor ${tensor} was not found`);
      const dtype = storedDtype(found);
      const offset = found.offset + tensor_row * cols * DTYPE_BYTES[dtype];
      sources.push({ parameter: name, row, rows, cols, file: found.file, offset, dtype });
    }
  }
  return sources;
}

function counted(names: readonly string[], noun: string): string {
  return `${names.length} ${noun}${names.length === 1 ? '' : 's'}`;
}

function listed(names: readonly string[]): string {
  return names.slice(0, 4).map(clip).join(', ') + (names.length > 4 ? ', …' : '');
}
