// SFT: minimise the mean of −log π_θ(y_j | x, y_<j) over ALL target tokens of an optimiser step; the prompt is no target. method.md §4.

import { z } from 'zod';
import { batches } from './batches.js';
import { defineMethod } from './method.js';
import {
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
    const { engine, rows, train, seed, shuffle, now } = context;
    const plan = sft.plan({ numRows: rows.length, train }, options);
    const steps = plan[0]?.steps ?? 0;
    const loop = new TrainingLoop(context, plan);
    const rates = new LearningRates(train.schedule, 'round', steps);
    await loop.beginRound(0);
    if (loop.state.round_start === null) {
      await engine.resetOptimizer();
      await loop.beginSteps();
    }
    const batchPlan = { batch_size: train.batch_size, steps, begin: loop.state.batches, seed, round: 0, shuffle };
    for await (const { batch, epoch, waited } of batches(rows, batchPlan, now)) {
      const { batches: done } = loop.state;
      const learning_rate = rates.at(train.optimizer.learning_rate, { ofRound: done, ofRun: done }, steps);
      await loop.update({ objective: { name: 'sft' }, rows: batch }, { epoch, learning_rate, waited });
    }
    await loop.showAndEvaluate();
  },
});
