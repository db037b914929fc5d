// The cases of the bench, in the order in which they run. Adding one: a file beside this and a line here.

import type { AnyCase } from '../case.js';
import { inference } from './inference.js';
import { kernels } from './kernels.js';
import { memory, size } from './memory.js';
import { pairs } from './pair.js';
import { sft } from './sft.js';

export const cases: readonly AnyCase[] = [...kernels, ...sft, ...pairs, memory, size, ...inference];
