// The top of the page: what ran, how it ended, and the numbers that one asks for first.

import { byteSize, change, count, duration, figure, plural } from '../format.js';
import { type Html, html } from '../html.js';
import type { RunData } from '../read.js';
import type { RunSummary } from '../summary.js';

export interface Run {
  data: RunData;
  summary: RunSummary;
}

export function header(runs: readonly Run[]): Html {
  const [only] = runs;
  if (runs.length === 1 && only) {
    const { data, summary } = only;
    return html`<header class="head">
      <p class="kicker">Training report</p>
      <h1>${data.name}</h1>
      <p class="facts">${facts(data).map((fact) => html`<span>${fact}</span>`)}</p>
      <p>${stateOf(summary)}</p>
    </header>`;
  }
  return html`<header class="head">
    <p class="kicker">Training report</p>
    <h1>${plural(runs.length, 'run')} compared</h1>
    <p class="facts">${[...new Set(runs.map(({ data }) => data.method?.toUpperCase() ?? 'unknown method'))].map((method) => html`<span>${method}</span>`)}</p>
  </header>`;
}

function facts({ method, plan, model, seed, environment, written }: RunData): string[] {
  const started = typeof environment?.started === 'string' ? new Date(environment.started) : written;
  return [
    method?.toUpperCase() ?? 'method unknown',
    plan?.model ? `${plan.model.architecture}, ${millions(plan.model.parameters)} parameters` : model,
    seed === undefined ? undefined : `seed ${seed}`,
    started && !Number.isNaN(started.getTime()) ? started.toISOString().slice(0, 16).replace('T', ' ') : undefined,
  ].filter((fact) => fact !== undefined);
}

function millions(parameters: number): string {
  if (parameters >= 1e9) return `${(parameters / 1e9).toPrecision(3)} B`;
  return parameters >= 1e6 ? `${(parameters / 1e6).toPrecision(3)} M` : `${(parameters / 1e3).toPrecision(3)} k`;
}

export function stateOf({ state, step, steps }: RunSummary): Html {
  const done = steps === undefined ? plural(step, 'step') : `${count(step)} of ${plural(steps, 'step')}`;
  switch (state) {
    case 'finished':
      return html`<span class="state good">Finished</span> <span class="muted">${plural(step, 'step')}</span>`;
    case 'interrupted':
      return html`<span class="state bad">Interrupted</span> <span class="muted">after ${done}</span>`;
    case 'unfinished':
      return html`<span class="state warn">Not finished</span> <span class="muted">${done}</span>`;
    default:
      return state satisfies never;
  }
}

/** Numbers in a row, the most telling first; those that the run does not have are left out. */
export function tiles({ data, summary }: Run): Html {
  const { metrics, held_out, time, peak_bytes } = summary;
  const tile = (name: string, value: string, more?: string) =>
    html`<div><dt>${name}</dt><dd>${value}${more === undefined ? '' : html` <small class="more">${more}</small>`}</dd></div>`;
  const metric = (name: string, key: string, show: (value: number) => string = figure) => {
    const value = metrics[key];
    if (value === undefined) return [];
    const before = held_out[key]?.before;
    return [tile(name, show(value), before === undefined ? undefined : `from ${show(before)}`)];
  };
  const seconds = time.reduce((sum, share) => sum + share.seconds, 0);
  const rows = [
    ...metric('Held-out loss', 'eval/loss'),
    ...metric('Held-out reward', 'eval/reward'),
    ...metric('Log-prob gap', 'eval/logp_gap'),
    ...metric('Training loss', 'loss'),
    ...metric('Reward margin', 'rewards/margins'),
    ...metric('Accuracy', 'rewards/accuracies', (value) => `${Math.round(value * 100)} %`),
    ...medianRate(data).map((rate) => tile('Throughput', count(rate), 'tokens/s')),
    ...(seconds > 0 ? [tile('Time', duration(seconds))] : []),
    ...(peak_bytes === undefined ? [] : [tile('Peak memory', byteSize(peak_bytes))]),
  ];
  return rows.length === 0 ? html`` : html`<dl class="tiles">${rows}</dl>`;
}

export function medianRate({ metrics }: RunData): number[] {
  const rates = (metrics.curves.get('tokens_per_second')?.values ?? []).filter((value) => value !== null);
  rates.sort((a, b) => a - b);
  return rates.slice(Math.floor(rates.length / 2)).slice(0, 1);
}

/** What a table begins with. */
const FIRST = ['eval/loss', 'eval/reward', 'eval/logp_gap'];

/** eval/…: before the first step and after the last. */
export function beforeAfter({ summary }: Run): Html {
  const place = (key: string) => (FIRST.indexOf(key) + FIRST.length + 1) % (FIRST.length + 1);
  const rows = Object.entries(summary.held_out).sort(([a], [b]) => place(a) - place(b));
  if (rows.length === 0) return html``;
  return html`<div class="scroll"><table>
    <thead><tr><th scope="col">Held out</th><th scope="col" class="n">before</th><th scope="col" class="n">after</th><th scope="col" class="n">change</th></tr></thead>
    <tbody>${rows.map(
      ([key, { before, after }]) =>
        html`<tr><th scope="row"><code>${key}</code></th><td class="n">${figure(before)}</td><td class="n">${figure(after)}</td><td class="n">${change(after - before)}</td></tr>`,
    )}</tbody>
  </table></div>`;
}
