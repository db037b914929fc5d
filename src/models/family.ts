// What a model family is: a function from config.json to a ModelDescription, and what files are known to do differently.

import type { Config } from './config.js';
import type { ModelDescription } from './spec.js';

export interface Family {
  /** As in config.json's `architectures`. */
  architecture: string;
  model_type: string;
  /** The tensor of an untied head: the name it is saved under, then other names that files have for it. */
  head_names: readonly [string, ...string[]];
  /** Tensors that some files hold and nothing computes with: buffers that are computed anew. */
  ignored: RegExp;
  /** Throws ERR_GLEANER_MODEL, naming file, key and value, for what the engine would compute wrongly. */
  describe(config: Config): ModelDescription;
}
