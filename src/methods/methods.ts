// The list of methods, the only place that names them all.

import { irft } from './irft.js';
import { sft } from './sft.js';
import { spin } from './spin.js';

export const methods = { sft, spin, irft } as const;

export type MethodName = keyof typeof methods;
