// A run's plan in words and tables.

import { gigabytes, type RunPlan } from '../recipe/plan.js';
import type { Recipe } from '../recipe/schema.js';
import { list, table } from './terminal.js';

export function oneLine(recipe: Recipe, plan: RunPlan): string {
  const { model, steps, memory, threads, isa } = plan;
  const millions = (model.parameters / 1e6).toFixed(2);
  return `${recipe.method}: ${model.architecture}, ${millions} M parameters, ${plan.data.rows} rows, ${plan.rounds?.length} round${plan.rounds?.length === 1 ? '' : 's'}, ${steps} steps, ${gigabytes(memory.total_bytes)} planned, ${threads} threads (${isa})`;
}

export function describePlan(plan: RunPlan): string {
  const { model, data, rounds, steps, memory } = plan;
  const unknown = 'unknown';
  const facts: [string, string][] = [
    ['model', `${model.architecture}, ${model.parameters.toLocaleString('en')} parameters`],
    [
      'rows',
      data.rows === null
        ? unknown
        : `${data.rows}${data.held_out_rows === null ? '' : `, ${data.held_out_rows} held out`}`,
    ],
    ['tokens', data.tokens === null ? unknown : data.tokens.toLocaleString('en')],
    [
      'longest',
      `${data.longest_sequence} tokens of prompt and answer, ${data.longest_tree} with both answers of a pair`,
    ],
    ['steps', steps === null ? unknown : `${steps}`],
    ['micro-batch', `${plan.micro_batch_tokens} tokens, activations: ${plan.activations}`],
    [
      'generation',
      plan.generation === null
        ? 'none'
        : `${plan.generation.batch_size} sequences of up to ${plan.generation.max_length} tokens at once`,
    ],
    ['threads', `${plan.threads} (${plan.isa})`],
  ];
  const parts = [list(facts)];
  if (rounds && rounds.length > 0) {
    parts.push(
      table(
        ['round', 'rows', 'answers sampled', 'steps'],
        rounds.map((round, place) => [`${place}`, `${round.rows}`, `${round.generations}`, `${round.steps}`]),
      ),
    );
  }
  const { total_bytes, ...purposes } = memory;
  parts.push(
    table(
      ['memory', 'bytes', ''],
      [
        ...Object.entries(purposes).map(([purpose, bytes]) => [purpose, bytes.toLocaleString('en'), gigabytes(bytes)]),
        [
          'total',
          total_bytes.toLocaleString('en'),
          `${gigabytes(total_bytes)} of ${gigabytes(plan.memory_limit_bytes)}`,
        ],
      ],
    ),
  );
  return parts.join('\n\n');
}
