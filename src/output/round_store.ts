// What the rounds of a run keep in their folders. One key for the run: files of another run, or of other settings, are never gone on with.

import { stat } from 'node:fs/promises';
import { GleanerError } from '../common/errors.js';
import { double, ids, integer, text } from './columns.js';
import type { RunFolder } from './folder.js';
import { type GenerationRow, generationColumns } from './generations.js';
import { GrowingRows, openRows } from './round_files.js';

export interface PairFileRow {
  id: string;
  index: number;
  round: number;
  prompt_ids: ArrayLike<number>;
  real_ids: ArrayLike<number>;
  generated_ids: ArrayLike<number>;
  ref_real: number;
  ref_generated: number;
}

const pairColumns = {
  id: text((row: PairFileRow) => row.id),
  index: integer((row: PairFileRow) => row.index),
  round: integer((row: PairFileRow) => row.round),
  prompt_ids: ids((row: PairFileRow) => row.prompt_ids),
  real_ids: ids((row: PairFileRow) => row.real_ids),
  generated_ids: ids((row: PairFileRow) => row.generated_ids),
  ref_real: double((row: PairFileRow) => row.ref_real),
  ref_generated: double((row: PairFileRow) => row.ref_generated),
} as const;

export class RoundFiles {
  constructor(
    private readonly folder: RunFolder,
    private readonly key: string,
  ) {}

  /** Goes on where an interrupted run was. */
  async generations(round: number) {
    const file = { path: this.folder.generations(round), columns: generationColumns, key: this.key };
    return GrowingRows.open<GenerationRow, typeof generationColumns>(file);
  }

  /** Afresh. */
  async pairs(round: number) {
    const file = { path: this.folder.pairs(round), columns: pairColumns, key: this.key };
    return GrowingRows.open<PairFileRow, typeof pairColumns>(file, { fresh: true });
  }

  async openPairs(round: number) {
    const path = this.folder.pairs(round);
    if ((await stat(path).catch(() => undefined)) === undefined) {
      throw new GleanerError(
        'ERR_GLEANER_DATA',
        `${path} is gone: round ${round} trains on it`,
        'Put it back, or remove the checkpoints of this round to go on from the one before.',
      );
    }
    return openRows({ path, columns: pairColumns });
  }
}
