// Cases that do not train: generation, scoring, a round, data, start-up, curves.

import type { AnyCase } from '../case.js';

export const inference: readonly AnyCase[] = [];
