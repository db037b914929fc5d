// The cases of the bench, in the order in which they run. Adding one: a file beside this and a line here.

import type { Case } from '../case.js';
import { pair } from './pair.js';
import { sft } from './sft.js';

export const cases: readonly Case[] = [sft, pair];
