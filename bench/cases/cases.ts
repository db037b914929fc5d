// The cases of the bench, in the order in which they run. Adding one: a file beside this and a line here.

import type { AnyCase } from '../case.js';
import { inference } from './inference.js';
import { pairs } from './pair.js';
import { sft } from './sft.js';

export const cases: readonly AnyCase[] = [...sft, ...pairs, ...inference];
