// SFT: minimise the mean of −log π_θ(y_j | x, y_<j) over ALL target tokens of an optimiser step; the prompt is no target. method.md §4.

import { z } from 'zod';
import { defineMethod } from './method.js';
import {
  batches,
  capRounds,
  chunkBounds,
  LearningRates,
  numSteps,
  refuseRoundsThatNeverMove,
  refuseRunThatNeverMoves,
} from './rounds.js';
import { TrainingLoop } from './training_loop.js';

export const sft = defineMethod({
  name: 'sft',
  options: z.strictObject({}),
  pairs: false,

  plan({ numRows, train }) {
    chunkBounds(numRows, 1, 'all');
    const planned = [{ rows: numRows, generations: 0, steps: numSteps(numRows, train, null) }];
    const cure = 'Set train.schedule.warmup_ratio: 0, more epochs, or a smaller batch_size.';
    refuseRoundsThatNeverMove(planned, train.schedule, 'sft', cure);
    const rounds = capRounds(planned, train.max_steps);
    refuseRunThatNeverMoves(rounds, train.schedule, 'round');
    return rounds;
  },

  async run(context, options) {
    const { engine, rows, train, seed, shuffle } = context;
    const plan = sft.plan({ numRows: rows.length, train }, options);
    const steps = plan[0]?.steps ?? 0;
    const loop = new TrainingLoop(context, plan);
    const rates = new LearningRates(train.schedule, 'round', steps);
    await engine.resetOptimizer();
    await loop.showAndEvaluate();
    rates.startRound(steps);
    for (const { batch, epoch } of batches({
      items: rows,
      batch_size: train.batch_size,
      steps,
      seed,
      round: 0,
      shuffle,
    })) {
      const learning_rate = rates.next(train.optimizer.learning_rate);
      await loop.update({ objective: { name: 'sft' }, rows: batch }, { round: 0, epoch, learning_rate });
    }
    await loop.showAndEvaluate();
  },
});
