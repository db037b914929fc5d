// Multiple choice: the log-probability of each of four choices after one context. Gleaner computes a context once for its choices.

import { Engine } from '../../src/engine/engine.js';
import type { Answer, Case, OpenOptions, Ours, Work } from '../case.js';
import { forwardFlops, type ModelName, shapes } from '../model.js';
import { Numbers, ofRound } from '../rows.js';
import { timed } from '../timed.js';

const SEED = 4;
const CONTEXT = 80;
const CHOICE = 10;
const CHOICES = 4;
export const HFLM = 'lm_eval HFLM';

interface Row {
  id: string;
  prompt_ids: number[];
  response_ids: number[];
}

function scoringCase(model: ModelName, questions: number, ratio: number): Case {
  return {
    kind: 'rounds',
    name: `score-${model}`,
    group: 'scoring',
    about: `${model}, ${questions} questions, context ${CONTEXT} tokens, ${CHOICES} choices of ${CHOICE}`,
    peers: [{ name: HFLM, runtime: 'python', script: 'hflm.py', settings: { batch_size: 16 } }],
    tolerances: { scores: 1e-4 },
    goals: { ratio: { [HFLM]: ratio } },
    quick: model === '14m',
    budget_seconds: 40,
    open: (options) => openScoring(model, questions, options),
  };
}

async function openScoring(
  model: ModelName,
  questions: number,
  { threads, rounds, ...options }: OpenOptions,
): Promise<Ours> {
  const folder = await options.model(model);
  const engine = await Engine.load(folder, { threads });
  const { vocab } = shapes[model];
  const all = Array.from({ length: rounds }, (_, round) => {
    const numbers = new Numbers(SEED, round);
    return Array.from({ length: questions }, () => numbers.ids(CONTEXT, vocab)).flatMap((prompt_ids, question) =>
      Array.from(
        { length: CHOICES },
        (_, choice): Row => ({
          id: `${round}.${question}.${choice}`,
          prompt_ids,
          response_ids: numbers.ids(CHOICE, vocab),
        }),
      ),
    );
  });
  // A choice's last token is predicted, but predicts nothing.
  const inputs = CONTEXT + CHOICES * (CHOICE - 1);
  const spans = Array.from({ length: questions }, () => [
    { tokens: CONTEXT, before: 0 },
    ...Array.from({ length: CHOICES }, () => ({ tokens: CHOICE - 1, before: CONTEXT })),
  ]).flat();
  return {
    peerLoad: { model: folder, threads, settings: {} },
    peerRows: (round) => ofRound(all, round),
    work: (): Work => ({
      tokens: questions * inputs,
      items: questions * CHOICES,
      flops: forwardFlops(engine.spec, spans, questions * CHOICES * CHOICE),
    }),
    run: async (round): Promise<Answer> => {
      const rows = ofRound(all, round);
      const { result, ...times } = await timed(() => engine.score(rows));
      return {
        ...times,
        checks: { scores: result.map(({ logprob }) => logprob) },
        tokens: questions * inputs,
      };
    },
    [Symbol.asyncDispose]: () => engine.close(),
  };
}

export const scoring: readonly Case[] = [scoringCase('14m', 16, 10), scoringCase('70m', 8, 7)];
