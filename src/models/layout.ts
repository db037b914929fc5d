// The canonical parameters of a decoder, in native order, and how a family's Hugging Face tensors lie in them.
// Native sees only these matrices; whether a file holds q, k and v fused or apart makes no difference below src/models.

import { GleanerError } from '../common/errors.js';
import type { DecoderSpec, ModelDescription, ParameterLayout, ParameterSlice } from './spec.js';

export interface ParameterShape {
  name: string;
  rows: number;
  cols: number;
  init: ParameterLayout['init'];
}

/** Every parameter of a decoder, in native order. attention.kv: rows of k, then of v; a gated mlp.up: rows of gate, then of up. */
export function parameterShapes(spec: DecoderSpec): ParameterShape[] {
  const { vocab, hidden, intermediate } = spec;
  const q = spec.heads * spec.head_dim;
  const kv = 2 * spec.kv_heads * spec.head_dim;
  const up = spec.mlp === 'swiglu' ? 2 * intermediate : intermediate;
  const shapes: ParameterShape[] = [];
  const norm = (name: string): void => {
    shapes.push({ name: `${name}.weight`, rows: hidden, cols: 1, init: 'ones' });
    if (spec.norm === 'layer_norm') shapes.push({ name: `${name}.bias`, rows: hidden, cols: 1, init: 'zeros' });
  };
  const linear = (name: string, rows: number, cols: number, bias: boolean): void => {
    shapes.push({ name: `${name}.weight`, rows, cols, init: 'normal' });
    if (bias) shapes.push({ name: `${name}.bias`, rows, cols: 1, init: 'zeros' });
  };
  linear('embed', vocab, hidden, false);
  for (let i = 0; i < spec.layers; i += 1) {
    norm(`layers.${i}.attention_norm`);
    linear(`layers.${i}.attention.q`, q, hidden, spec.qkv_bias);
    linear(`layers.${i}.attention.kv`, kv, hidden, spec.qkv_bias);
    linear(`layers.${i}.attention.o`, hidden, q, spec.attention_output_bias);
    norm(`layers.${i}.mlp_norm`);
    linear(`layers.${i}.mlp.up`, up, hidden, spec.mlp_bias);
    linear(`layers.${i}.mlp.down`, hidden, intermediate, spec.mlp_bias);
  }
  norm('final_norm');
  if (!spec.tied_head) linear('head', vocab, hidden, false);
  return shapes;
}

export function parameterNames(spec: DecoderSpec): string[] {
  return parameterShapes(spec).map((shape) => shape.name);
}

export function countParameters(description: Pick<ModelDescription, 'parameters'>): number {
  return description.parameters.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
}

/** Rows of a tensor; the rows of a parameter are its pieces one after the other. */
export interface Piece {
  tensor: string;
  tensor_row: number;
  rows: number;
}

/** Where a family keeps the modules of parameterShapes, `layer` undefined for embed, final_norm and head. `suffix` is weight or bias. */
export type FindPieces = (
  module: string,
  layer: number | undefined,
  suffix: 'weight' | 'bias',
  rows: number,
) => Piece[];

export function whole(tensor: string, rows: number): Piece[] {
  return [{ tensor, tensor_row: 0, rows }];
}

/** Parameters and tensors of a spec. Tensors are sorted by name, as the safetensors library writes files of one dtype. */
export function layOut(spec: DecoderSpec, find: FindPieces): Pick<ModelDescription, 'parameters' | 'tensors'> {
  const parameters = parameterShapes(spec).map((shape): ParameterLayout => {
    const [, layer, module = '', suffix] = /^(?:layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(shape.name) ?? [];
    const slices: ParameterSlice[] = [];
    let row = 0;
    for (const piece of find(
      module,
      layer === undefined ? undefined : Number(layer),
      suffix === 'bias' ? 'bias' : 'weight',
      shape.rows,
    )) {
      slices.push({ ...piece, row });
      row += piece.rows;
    }
    if (row !== shape.rows) throw internal(`${shape.name} has ${shape.rows} rows, its slices ${row}`);
    return { ...shape, slices };
  });
  return { parameters, tensors: tensorsOf(parameters) };
}

/** One slice of a parameter as its tensor sees it. */
export interface TensorSlice {
  parameter: ParameterLayout;
  slice: ParameterSlice;
}

/** The slices of every tensor, in the order of its rows. */
export function slicesByTensor(parameters: readonly ParameterLayout[]): Map<string, TensorSlice[]> {
  const tensors = new Map<string, TensorSlice[]>();
  for (const parameter of parameters) {
    for (const slice of parameter.slices) {
      const slices = tensors.get(slice.tensor);
      if (slices) slices.push({ parameter, slice });
      else tensors.set(slice.tensor, [{ parameter, slice }]);
    }
  }
  for (const slices of tensors.values()) slices.sort((a, b) => a.slice.tensor_row - b.slice.tensor_row);
  return tensors;
}

function tensorsOf(parameters: readonly ParameterLayout[]): ModelDescription['tensors'] {
  const tensors: ModelDescription['tensors'] = [];
  for (const [name, slices] of slicesByTensor(parameters)) {
    let rows = 0;
    for (const { slice } of slices) {
      if (slice.tensor_row !== rows) throw internal(`row ${rows} of ${name} belongs to no parameter or to two`);
      rows += slice.rows;
    }
    const first = slices[0]?.parameter;
    if (first) tensors.push({ name, shape: isVector(first) ? [rows] : [rows, first.cols] });
  }
  return tensors.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function isVector(parameter: ParameterLayout): boolean {
  return parameter.init !== 'normal';
}

function internal(message: string): GleanerError {
  return new GleanerError('ERR_GLEANER_INTERNAL', `parameter layout: ${message}`);
}
