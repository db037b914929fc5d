// What training needs besides the model folder to go on bit by bit: the optimiser's blocks and step count, fp32 weights, a round's copy.
// One safetensors file each, with torch's names; its header says what it is and the CRC-32 of all its bytes.

import { modelError, show } from '../models/json.js';
import { readSafetensors, type SafetensorsFile, writeHeader } from '../models/safetensors.js';
import type { ModelDescription } from '../models/spec.js';
import type { NativeLoadPiece, NativeRows, NativeSavePiece, NativeTrainingState } from './addon.js';

/** The tensors of a file: a prefix before each parameter's name, and the block that it stands for. */
interface Group {
  prefix: string;
  block: Required<Pick<NativeRows, 'block' | 'state'>>;
}

type Kind = 'training_state' | 'round_weights';

const weightsGroup: Group = { prefix: 'weights.', block: { block: 'weights', state: 0 } };
const roundGroup: Group = { prefix: 'weights.', block: { block: 'round', state: 0 } };
const optimizerGroups = (states: readonly string[]): Group[] =>
  states.map((name, state) => ({ prefix: `optimizer.${name}.`, block: { block: 'optimizer', state } }));

const NO_DIGITS = '00000000';
/** The checksum is the first thing that the header says, so its place is known. */
const DIGITS_AT = 8 + '{"__metadata__":{"crc32":"'.length;

export interface StateToSave {
  header: Uint8Array;
  pieces: NativeSavePiece[];
  digits_at: number;
}

export interface StateToLoad {
  file: { path: string; digits_at: number; crc32: number };
  pieces: NativeLoadPiece[];
  num_steps?: number;
}

export function trainingStateToSave(
  description: ModelDescription,
  { optimizer, num_steps, states }: NativeTrainingState,
  weights: boolean,
): StateToSave {
  const groups = [...optimizerGroups(states), ...(weights ? [weightsGroup] : [])];
  return toSave('training_state', description, groups, { optimizer, num_steps: `${num_steps}` });
}

export function roundToSave(description: ModelDescription): StateToSave {
  return toSave('round_weights', description, [roundGroup], {});
}

/** Of a file for this model and this optimiser; whatever else it is, is said. */
export async function trainingStateToLoad(
  path: string,
  description: ModelDescription,
  { optimizer, states }: NativeTrainingState,
): Promise<StateToLoad> {
  const file = await openState(path, 'training_state', description);
  const saved = file.metadata.get('optimizer');
  if (saved !== optimizer)
    throw modelError(
      `${path}: the state of optimizer ${show(saved)}, training was prepared with ${optimizer}`,
      'Use the recipe that the checkpoint was made with.',
    );
  const num_steps = Number(file.metadata.get('num_steps'));
  if (!Number.isSafeInteger(num_steps) || num_steps < 0)
    throw modelError(`${path}: num_steps is ${show(file.metadata.get('num_steps'))}: a whole number is needed`);
  const weights = [...file.tensors.keys()].some((name) => name.startsWith(weightsGroup.prefix));
  const groups = [...optimizerGroups(states), ...(weights ? [weightsGroup] : [])];
  return { ...toLoad(file, description, groups), num_steps };
}

export async function roundToLoad(path: string, description: ModelDescription): Promise<StateToLoad> {
  return toLoad(await openState(path, 'round_weights', description), description, [roundGroup]);
}

/** A parameter's shape in a file; vectors are [n, 1] in a layout. */
const shapeOf = (rows: number, cols: number): number[] => (cols === 1 ? [rows] : [rows, cols]);

function toSave(
  kind: Kind,
  { architecture, parameters }: ModelDescription,
  groups: readonly Group[],
  more: Record<string, string>,
): StateToSave {
  const tensors = groups.flatMap(({ prefix }) =>
    parameters.map(({ name, rows, cols }) => ({ name: prefix + name, dtype: 'F32', shape: shapeOf(rows, cols) })),
  );
  const pieces = groups.flatMap(({ block }) =>
    parameters.map(({ name, rows }) => ({ parameter: name, row: 0, rows, dtype: 'F32', ...block })),
  );
  const { header } = writeHeader(tensors, { crc32: NO_DIGITS, kind, architecture, ...more });
  return { header, pieces, digits_at: DIGITS_AT };
}

async function openState(path: string, kind: Kind, { architecture }: ModelDescription): Promise<SafetensorsFile> {
  const file = await readSafetensors(path);
  const found = file.metadata.get('kind');
  if (found !== kind) throw modelError(`${path}: its kind is ${show(found)}, a file of ${kind} is needed`);
  const model = file.metadata.get('architecture');
  if (model !== architecture) throw modelError(`${path}: of a ${show(model)}, the loaded model is a ${architecture}`);
  return file;
}

function toLoad(file: SafetensorsFile, { parameters }: ModelDescription, groups: readonly Group[]): StateToLoad {
  const { path } = file;
  const digits = file.metadata.get('crc32') ?? '';
  if (!/^[0-9a-f]{8}$/.test(digits)) throw modelError(`${path}: crc32 is ${show(digits)}: eight digits are needed`);
  const left = new Set(file.tensors.keys());
  const pieces: NativeLoadPiece[] = [];
  for (const { prefix, block } of groups) {
    for (const { name, rows, cols } of parameters) {
      const tensor = file.tensors.get(prefix + name);
      if (!tensor) throw modelError(`${path}: tensor ${prefix}${name}, which this model has, is missing`);
      left.delete(tensor.name);
      const shape = shapeOf(rows, cols);
      if (tensor.dtype !== 'F32' || show(tensor.shape) !== show(shape))
        throw modelError(
          `${path}: tensor ${tensor.name} is ${show(tensor.shape)} of ${tensor.dtype}, this model has ${show(shape)} of F32`,
        );
      pieces.push({ parameter: name, row: 0, rows, file: 0, offset: tensor.offset, dtype: 'F32', ...block });
    }
  }
  const [unknown] = left;
  if (unknown !== undefined) throw modelError(`${path}: tensor ${show(unknown)} does not belong to this model`);
  return { file: { path, digits_at: DIGITS_AT, crc32: Number.parseInt(digits, 16) }, pieces };
}
