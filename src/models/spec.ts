// What native computes (DecoderSpec) and how its parameters lie in a Hugging Face folder (ParameterLayout).
// A model family is a function from a checked config.json to these two.

/** What native code computes of a model: sizes and switches, whatever the family. */
export interface DecoderSpec {
  vocab: number;
  hidden: number;
  layers: number;
  heads: number;
  kv_heads: number;
  head_dim: number;
  intermediate: number;
  norm: 'layer_norm' | 'rms_norm';
  norm_eps: number;
  mlp: 'gelu' | 'swiglu';
  parallel_residual: boolean;
  qkv_bias: boolean;
  attention_output_bias: boolean;
  mlp_bias: boolean;
  tied_head: boolean;
  rotary_dim: number;
  /** [rotary_dim / 2], rope scaling included. */
  inverse_frequencies: number[];
  /** 0: none. */
  sliding_window: number;
  max_positions: number;
}

/** Rows [tensor_row, tensor_row + rows) of a Hugging Face tensor are rows [row, row + rows) of the parameter. A vector counts as [n, 1]. */
export interface ParameterSlice {
  tensor: string;
  tensor_row: number;
  row: number;
  rows: number;
}

/** One native matrix [rows, cols]; biases and norm weights are [n, 1]. */
export interface ParameterLayout {
  /** Canonical: embed.weight, layers.3.attention.q.weight, … (see parameterNames). */
  name: string;
  rows: number;
  cols: number;
  slices: ParameterSlice[];
  /** How `init: random` fills it. */
  init: 'normal' | 'zeros' | 'ones';
}

/** A model read from config.json alone. */
export interface ModelDescription {
  architecture: string;
  spec: DecoderSpec;
  parameters: ParameterLayout[];
  /** Hugging Face tensors in the order in which they are saved, with their shapes. */
  tensors: { name: string; shape: number[] }[];
  initializer_range: number;
  eos_token_ids: number[];
  bos_token_id: number | undefined;
  /** As config.json says; weights are computed in fp32 and saved in this type unless told otherwise. */
  dtype: 'F32' | 'F16' | 'BF16';
}
