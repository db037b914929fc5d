// What a saved model folder holds: config.json as it was with the saved dtype, and the bytes of model.safetensors as a header and an
// ordered list of parameter rows. Native writes the rows; nothing here touches a disk.

import { type Config, type Dtype, dtypeName } from './config.js';
import { editJson } from './json.js';
import { slicesByTensor } from './layout.js';
import { writeHeader } from './safetensors.js';
import type { ModelDescription } from './spec.js';

/** Rows [row, row + rows) of a parameter are the next bytes of the file. */
export interface SavePiece {
  /** Canonical name. */
  parameter: string;
  row: number;
  rows: number;
  cols: number;
}

export interface SavePlan {
  config_json: string;
  dtype: Dtype;
  /** The first bytes of model.safetensors; the pieces follow. */
  header: Uint8Array;
  data_bytes: number;
  pieces: SavePiece[];
}

/** Trained weights are fp32; a narrower dtype rounds them (to nearest, ties to even). */
export function planSave(config: Config, description: ModelDescription, dtype: Dtype = 'F32'): SavePlan {
  const bySlice = slicesByTensor(description.parameters);
  const pieces: SavePiece[] = [];
  for (const { name } of description.tensors) {
    for (const { parameter, slice } of bySlice.get(name) ?? []) {
      const last = pieces.at(-1);
      if (last && last.parameter === parameter.name && last.row + last.rows === slice.row) last.rows += slice.rows;
      else pieces.push({ parameter: parameter.name, row: slice.row, rows: slice.rows, cols: parameter.cols });
    }
  }
  const tensors = description.tensors.map(({ name, shape }) => ({ name, shape, dtype }));
  return { config_json: savedConfig(config, description, dtype), dtype, ...writeHeader(tensors), pieces };
}

/** Keys keep their spelling: transformers 4 reads torch_dtype, 5 reads either. */
function savedConfig(config: Config, description: ModelDescription, dtype: Dtype): string {
  const edits = new Map([['architectures', `[${JSON.stringify(description.architecture)}]`]]);
  const keys = ['dtype', 'torch_dtype'].filter((key) => config.spans.has(key));
  for (const key of keys.length > 0 ? keys : ['torch_dtype']) edits.set(key, JSON.stringify(dtypeName(dtype)));
  const text = editJson(config, edits);
  return text.endsWith('\n') ? text : `${text}\n`;
}
