// A worker thread of an import: a tokenizer of its own, and task after task.

import { move, transferableSymbol, valueSymbol, workerData } from 'piscina';
import { z } from 'zod';
import { GleanerError } from '../../common/errors.js';
import type { Row } from '../rows.js';
import { RowTokenizer } from '../tokenize.js';
import { Tokenizer } from '../tokenizer/tokenizer.js';
import { type TaskFailure, tokenizeTask, type WorkerSetup } from './task.js';

const setup = z.object({ tokenizer: z.string(), settings: z.custom<WorkerSetup['settings']>() }).parse(workerData);
const tokenizer = new RowTokenizer(await Tokenizer.load(setup.tokenizer), setup.settings);

export function tokenize(rows: readonly Row[]): unknown {
  try {
    const task = tokenizeTask(tokenizer, rows);
    const arrays = [task.prompt_ids, task.prompt_offsets, task.response_ids, task.response_offsets, task.cut];
    return move({ [transferableSymbol]: arrays.map(({ buffer }) => buffer), [valueSymbol]: task });
  } catch (error) {
    if (!(error instanceof GleanerError)) throw error;
    const { code, message, hint } = error;
    const failed: TaskFailure = { failure: { code, message, hint } };
    return failed;
  }
}
