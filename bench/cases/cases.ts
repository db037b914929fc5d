// The cases of the bench, in the order in which they run. Adding one: a file beside this and a line here.

import type { AnyCase } from '../case.js';
import { generation } from './generation.js';
import { kernels } from './kernels.js';
import { memory, size } from './memory.js';
import { pairs } from './pair.js';
import { scoring } from './scoring.js';
import { sft } from './sft.js';

export const cases: readonly AnyCase[] = [...kernels, ...sft, ...pairs, memory, size, ...generation, ...scoring];
