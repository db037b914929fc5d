// Rotary position embedding: from config.json's spelling (transformers 4: rope_theta, rope_scaling; 5: rope_parameters) to inverse
// frequencies in fp64. Source: transformers 5.18, modeling_rope_utils.py. Rope types whose arithmetic is not here are refused.

import { type Config, refuse } from './config.js';
import { isObject } from './json.js';

export interface RopeKeys {
  head_dim: number;
  max_position_embeddings: number;
  /** The key beside rope_parameters that holds the base. */
  theta_key: 'rope_theta' | 'rotary_emb_base';
  /** The key that holds the rotated part of a head and its default; undefined: the family rotates whole heads. */
  partial?: { key: 'rotary_pct'; absent: number };
}

export interface Rope {
  rotary_dim: number;
  inverse_frequencies: number[];
}

const DEFAULT_THETA = 10000;
const KNOWN_KEYS = [
  'rope_type',
  'type',
  'rope_theta',
  'partial_rotary_factor',
  'factor',
  'low_freq_factor',
  'high_freq_factor',
  'original_max_position_embeddings',
];

/** base^(-2i/dim), i < dim / 2. */
export function defaultFrequencies(base: number, dim: number): number[] {
  return Array.from({ length: dim / 2 }, (_, i) => 1 / base ** ((2 * i) / dim));
}

export function linearFrequencies(frequencies: readonly number[], factor: number): number[] {
  return frequencies.map((frequency) => frequency / factor);
}

export interface Llama3Scaling {
  factor: number;
  low_freq_factor: number;
  high_freq_factor: number;
  original_max_position_embeddings: number;
}

/** Long waves are stretched by `factor`, short ones kept, those between blended (Llama 3.1). */
export function llama3Frequencies(frequencies: readonly number[], scaling: Llama3Scaling): number[] {
  const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: context } = scaling;
  return frequencies.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength > context / low) return frequency / factor;
    if (wavelength < context / high) return frequency;
    const smooth = (context / wavelength - low) / (high - low);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

export function readRope(config: Config, keys: RopeKeys): Rope {
  const { name, block } = ropeBlock(config);
  const read = (key: string): number => {
    const value = block[key];
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    return refuse(config, `${name}.${key}`, value, 'a positive number is needed');
  };
  const beside = (key: string, absent: number): number => {
    const value = config.values[key];
    if (value === undefined) return absent;
    if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value;
    return refuse(config, key, value, 'a positive number is needed');
  };
  const theta = 'rope_theta' in block ? read('rope_theta') : beside(keys.theta_key, DEFAULT_THETA);
  const partial = rotatedPart(
    config,
    keys,
    'partial_rotary_factor' in block ? read('partial_rotary_factor') : undefined,
    beside,
  );
  checkAlias(config, 'rope_theta', keys.theta_key, theta);

  const rotary_dim = Math.trunc(keys.head_dim * partial);
  if (rotary_dim < 2 || rotary_dim % 2 !== 0 || rotary_dim > keys.head_dim) {
    const key = keys.partial ? `head_dim · ${keys.partial.key}` : 'head_dim';
    refuse(
      config,
      key,
      rotary_dim,
      `the rotated part of a head must be even, and between 2 and head_dim (${keys.head_dim})`,
    );
  }
  const frequencies = defaultFrequencies(theta, rotary_dim);
  const typeKey = 'rope_type' in block ? 'rope_type' : 'type';
  const type = typeKey in block ? block[typeKey] : 'default';
  switch (type) {
    case 'default':
      return { rotary_dim, inverse_frequencies: frequencies };
    case 'linear':
      return { rotary_dim, inverse_frequencies: linearFrequencies(frequencies, read('factor')) };
    case 'llama3': {
      const scaling = {
        factor: read('factor'),
        low_freq_factor: read('low_freq_factor'),
        high_freq_factor: read('high_freq_factor'),
        original_max_position_embeddings: originalContext(config, block, keys, read),
      };
      if (scaling.high_freq_factor <= scaling.low_freq_factor) {
        refuse(
          config,
          `${name}.high_freq_factor`,
          scaling.high_freq_factor,
          `it must be above low_freq_factor (${scaling.low_freq_factor})`,
        );
      }
      return { rotary_dim, inverse_frequencies: llama3Frequencies(frequencies, scaling) };
    }
    default:
      return refuse(
        config,
        `${name}.${typeKey}`,
        type,
        'this rope scaling is not supported; default, linear and llama3 are',
      );
  }
}

/** rope_scaling wins over rope_parameters when it says anything, as in transformers. */
function ropeBlock(config: Config): { name: string; block: Record<string, unknown> } {
  for (const name of ['rope_scaling', 'rope_parameters']) {
    const value = config.values[name];
    if (value === undefined || value === null) continue;
    if (!isObject(value)) return refuse(config, name, value, 'an object or null is needed');
    const keys = Object.keys(value);
    const unknown = keys.find((key) => !KNOWN_KEYS.includes(key) && value[key] !== null);
    // The type is the better thing to name: yarn and its like bring keys of their own.
    const type = value.rope_type ?? value.type;
    const known = type === undefined || type === 'default' || type === 'linear' || type === 'llama3';
    if (unknown !== undefined && known)
      refuse(config, `${name}.${unknown}`, value[unknown], 'this rope setting is not supported');
    if (keys.length > 0) return { name, block: value };
  }
  return { name: 'rope_parameters', block: {} };
}

function rotatedPart(
  config: Config,
  keys: RopeKeys,
  inBlock: number | undefined,
  beside: (key: string, absent: number) => number,
): number {
  const part =
    inBlock ?? (keys.partial ? beside(keys.partial.key, keys.partial.absent) : beside('partial_rotary_factor', 1));
  if (part > 1 || (!keys.partial && part !== 1)) {
    const why = keys.partial ? 'at most 1 is possible' : 'this family rotates whole heads';
    refuse(config, 'partial_rotary_factor', part, why);
  }
  if (keys.partial) checkAlias(config, 'partial_rotary_factor', keys.partial.key, part);
  return part;
}

/** Some versions write a value under two names. transformers obeys one of them; where they disagree, we ask. */
function checkAlias(config: Config, key: string, obeyed: string, value: number): void {
  const other = config.values[key];
  if (key === obeyed || other === undefined || other === null || other === value) return;
  refuse(
    config,
    key,
    other,
    `it disagrees with the value that is obeyed (${value}, from ${obeyed}, rope_parameters or their default)`,
  );
}

/** transformers gives a key beside the block priority over the one inside. */
function originalContext(
  config: Config,
  block: Record<string, unknown>,
  keys: RopeKeys,
  read: (key: string) => number,
): number {
  const key = 'original_max_position_embeddings';
  const beside = config.values[key];
  if (typeof beside === 'number' && Number.isFinite(beside) && beside > 0) return beside;
  if (beside !== undefined) return refuse(config, key, beside, 'a positive number is needed');
  return key in block ? read(key) : keys.max_position_embeddings;
}
