// Several runs: a row each, and the keys of their recipes that differ.

import { byteSize, count, duration, figure } from '../format.js';
import { type Html, html } from '../html.js';
import { medianRate, type Run, stateOf } from './overview.js';

interface Column {
  name: string;
  value(run: Run): string | undefined;
}

const metric = (name: string, key: string): Column => ({
  name,
  value: ({ summary }) => {
    const value = summary.metrics[key];
    return value === undefined ? undefined : figure(value);
  },
});

const columns: readonly Column[] = [
  {
    name: 'held-out loss',
    value: ({ summary: { held_out, metrics } }) => {
      const after = metrics['eval/loss'];
      const before = held_out['eval/loss']?.before;
      if (after === undefined) return undefined;
      return before === undefined ? figure(after) : `${figure(before)} → ${figure(after)}`;
    },
  },
  metric('held-out reward', 'eval/reward'),
  metric('log-prob gap', 'eval/logp_gap'),
  metric('training loss', 'loss'),
  metric('margin', 'rewards/margins'),
  metric('accuracy', 'rewards/accuracies'),
  { name: 'tokens/s', value: ({ data }) => medianRate(data).map(count)[0] },
  {
    name: 'time',
    value: ({ summary: { time } }) =>
      time.length === 0 ? undefined : duration(time.reduce((sum, { seconds }) => sum + seconds, 0)),
  },
  {
    name: 'peak memory',
    value: ({ summary: { peak_bytes } }) => (peak_bytes === undefined ? undefined : byteSize(peak_bytes)),
  },
];

export function comparison(runs: readonly Run[]): Html {
  const used = columns.filter(({ value }) => runs.some((run) => value(run) !== undefined));
  return html`<div class="scroll"><table class="compare">
    <thead><tr><th scope="col">Run</th><th scope="col">State</th>${used.map(({ name }) => html`<th scope="col" class="n">${name}</th>`)}</tr></thead>
    <tbody>${runs.map(
      (run, place) => html`<tr>
        <th scope="row">${swatch(place)} ${run.data.name}<small class="path">${run.data.path}</small></th>
        <td>${stateOf(run.summary)}</td>
        ${used.map(({ value }) => html`<td class="n">${value(run) ?? '–'}</td>`)}
      </tr>`,
    )}</tbody>
  </table></div>`;
}

export function swatch(place: number): Html {
  return html`<i class="swatch" style="--color: var(--series-${(place % 8) + 1})"></i>`;
}

/** Every key on which the recipes do not agree; where the output goes is no difference. */
export function recipeDifferences(runs: readonly Run[]): Html {
  const recipes = runs.map(({ data }) => flattened(data.recipe?.value));
  const keys = [...new Set(recipes.flatMap((recipe) => [...recipe.keys()]))].filter(
    (key) => key !== 'output' && new Set(recipes.map((recipe) => recipe.get(key))).size > 1,
  );
  if (keys.length === 0) return html`<p>The recipes agree in every key.</p>`;
  return html`<div class="scroll"><table class="compare">
    <thead><tr><th scope="col">Key</th>${runs.map(({ data }, place) => html`<th scope="col">${swatch(place)} ${data.name}</th>`)}</tr></thead>
    <tbody>${keys.map(
      (key) =>
        html`<tr><th scope="row"><code>${key}</code></th>${recipes.map((recipe) => html`<td>${recipe.get(key) ?? '–'}</td>`)}</tr>`,
    )}</tbody>
  </table></div>`;
}

/** a: {b: 1} → a.b: 1. Lists stay whole. */
function flattened(value: unknown, prefix = '', into = new Map<string, string>()): Map<string, string> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    for (const [key, inner] of Object.entries(value)) flattened(inner, prefix === '' ? key : `${prefix}.${key}`, into);
  } else if (prefix !== '') {
    into.set(prefix, typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
  }
  return into;
}
