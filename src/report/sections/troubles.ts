// What went wrong: steps that changed nothing, pairs that were dropped, warnings, and what the report could not read.

import { count, plural } from '../format.js';
import { type Html, html } from '../html.js';
import type { Run } from './overview.js';

/** More would hide the rest. */
const MOST_WARNINGS = 20;

export function troublesOf({ data, summary }: Run): Html[] {
  const { metrics, warnings, problems } = data;
  const found: Html[] = [];
  if (summary.state !== 'finished') {
    const { step, steps } = summary;
    const of = steps === undefined ? '' : ` of ${count(steps)}`;
    found.push(
      metrics.curves.size === 0
        ? html`No step was recorded yet.`
        : html`The run ${summary.state === 'interrupted' ? 'was interrupted' : 'is not finished'}: its last record is of step ${count(step)}${of}.`,
    );
  }
  const skipped = summary.metrics.skipped_steps ?? 0;
  if (skipped > 0) {
    const at = metrics.skipped_at;
    const which = `${at.slice(0, 12).join(', ')}${at.length > 12 ? ', …' : ''}`;
    found.push(
      html`${plural(skipped, 'step')} skipped, because the loss or the gradient was not a finite number (seen at ${at.length === 1 ? 'step' : 'steps'} ${which}). No weight was changed.`,
    );
  }
  const dropped = (key: string) =>
    (metrics.curves.get(key)?.values ?? []).reduce<number>((sum, value) => sum + (value ?? 0), 0);
  const identical = dropped('pairs/identical');
  if (identical > 0)
    found.push(html`${plural(identical, 'pair')} dropped: the generated answer was the demonstration, word for word.`);
  const empty = dropped('pairs/empty');
  if (empty > 0) found.push(html`${plural(empty, 'pair')} dropped: the prompt left no room for an answer.`);
  for (const { message, step } of warnings.slice(0, MOST_WARNINGS))
    found.push(html`${step !== undefined && html`Step ${count(step)}: `}${message}`);
  if (warnings.length > MOST_WARNINGS) found.push(html`More warnings stand in warnings.jsonl.`);
  for (const problem of problems) found.push(html`${problem}`);
  return found;
}

export function troubles(runs: readonly Run[]): Html {
  return html`${runs.map((run) => {
    const found = troublesOf(run);
    const list =
      found.length === 0
        ? html`<p class="fine">Nothing: no step was skipped, no pair was dropped.</p>`
        : html`<ul class="troubles">${found.map((trouble) => html`<li>${trouble}</li>`)}</ul>`;
    return runs.length === 1 ? list : html`<h3>${run.data.name}</h3>${list}`;
  })}`;
}
