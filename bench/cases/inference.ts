// Cases that do not train: generation, scoring, a round, data, start-up, curves.

import type { AnyCase } from '../case.js';
import { generation } from './generation.js';
import { scoring } from './scoring.js';

export const inference: readonly AnyCase[] = [...generation, ...scoring];
