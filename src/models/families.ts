// The list of model families, the only place that names them all, and the way from a config.json to its family's description.

import { type Config, refuse, refuseUnsupported } from './config.js';
import type { Family } from './family.js';
import { gptNeox } from './gpt_neox.js';
import { llama } from './llama.js';
import { mistral } from './mistral.js';
import type { ModelDescription } from './spec.js';

export const families: readonly Family[] = [gptNeox, llama, mistral];

export function familyOf(config: Config): Family {
  const { architectures, model_type } = config.values;
  const hint = `Supported: ${families.map((family) => family.architecture).join(', ')}.`;
  const byType = families.find((family) => family.model_type === model_type);
  if (!byType) return refuse(config, 'model_type', model_type, 'this model family is not supported', hint);
  if (architectures === undefined || architectures === null) return byType;
  const name: unknown = Array.isArray(architectures) && architectures.length === 1 ? architectures[0] : architectures;
  if (name !== byType.architecture) {
    return refuse(config, 'architectures', architectures, `not supported with model_type ${byType.model_type}`, hint);
  }
  return byType;
}

// The slices of all layers are held in memory; a damaged config.json must not ask for millions.
const MAX_LAYERS_TIMES_HEADS = 100_000;

export function describeModel(config: Config): ModelDescription {
  const family = familyOf(config);
  refuseUnsupported(config);
  const { num_hidden_layers: layers, num_attention_heads: heads } = config.values;
  if (typeof layers === 'number' && typeof heads === 'number' && layers * heads > MAX_LAYERS_TIMES_HEADS) {
    refuse(config, 'num_hidden_layers', layers, `with ${heads} heads more than ${MAX_LAYERS_TIMES_HEADS} heads in all`);
  }
  const description = family.describe(config);
  for (const id of description.eos_token_ids) {
    if (config.values.eos_token_id !== undefined) checkTokenId(config, 'eos_token_id', id, description);
  }
  return description;
}

export function checkTokenId(config: Config, key: string, id: number, description: ModelDescription): void {
  const { vocab } = description.spec;
  if (id < 0 || id >= vocab) refuse(config, key, id, `not a token id: the vocabulary has ${vocab}`);
}
