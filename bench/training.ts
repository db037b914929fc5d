// Gleaner's side of the cases that time one optimiser step.

import { Engine } from '../src/engine/engine.js';
import type { UpdateBatch } from '../src/engine/types.js';
import type { Answer, OpenOptions, Ours, Work } from './case.js';
import { type ModelName, type Span, shapes, trainingFlops } from './model.js';
import { ofRound } from './rows.js';
import { timed } from './timed.js';

/** The same optimiser on both sides; no clipping. */
export const optimizer = {
  name: 'adamw',
  learning_rate: 1e-5,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weight_decay: 0.01,
} as const;

export interface TrainingCase<Row> {
  model: ModelName;
  micro_batch_tokens: number;
  max_length: number;
  /** More that the peer's loss needs to know. */
  settings: Readonly<Record<string, number>>;
  rows(round: number, vocab: number, engine: Engine): Promise<readonly Row[]>;
  batch(rows: readonly Row[]): UpdateBatch;
  /** The work of one row. */
  spans(row: Row): readonly Span[];
  targets(row: Row): number;
}

export async function openTraining<Row>(
  training: TrainingCase<Row>,
  { threads, rounds, model: modelFolder }: OpenOptions,
): Promise<Ours> {
  const model = await modelFolder(training.model);
  const engine = await Engine.load(model, { threads });
  const { micro_batch_tokens, max_length } = training;
  const batches: (readonly Row[])[] = [];
  for (let round = 0; round < rounds; ++round)
    batches.push(await training.rows(round, shapes[training.model].vocab, engine));
  await engine.prepareTraining({ optimizer, activations: 'keep', micro_batch_tokens, max_length });
  const rowsOf = (round: number) => ofRound(batches, round);
  return {
    peerLoad: { model, threads, settings: { ...optimizer, ...training.settings } },
    peerRows: rowsOf,
    work: (round): Work => {
      const rows = rowsOf(round);
      const spans = rows.flatMap(training.spans);
      const targets = rows.reduce((sum, row) => sum + training.targets(row), 0);
      return {
        tokens: spans.reduce((sum, span) => sum + span.tokens, 0),
        flops: trainingFlops(engine.spec, spans, targets),
        items: rows.length,
      };
    },
    run: async (round): Promise<Answer> => {
      const batch = training.batch(rowsOf(round));
      const { result, ...times } = await timed(() =>
        engine.update(batch, { learning_rate: optimizer.learning_rate, max_grad_norm: null }),
      );
      return {
        ...times,
        checks: { loss: result.loss, grad_norm: result.grad_norm },
        tokens: result.num_tokens,
      };
    },
    [Symbol.asyncDispose]: () => engine.close(),
  };
}
