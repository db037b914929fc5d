// Where the time went, and what memory was planned and used: bars, each with its numbers beside it.

import { byteSize, duration, percent } from '../format.js';
import { type Html, html } from '../html.js';
import type { Run } from './overview.js';

interface Part {
  name: string;
  size: number;
}

/** One bar of parts. `whole`: what its full width stands for. */
function bar(parts: readonly Part[], whole: number, text: (part: Part) => string): Html {
  const sum = parts.reduce((total, { size }) => total + size, 0);
  const label = parts.map((part) => `${part.name} ${text(part)}`).join(', ');
  const width = (size: number) => `${((size / Math.max(whole, sum)) * 100).toFixed(3)}%`;
  return html`<div class="bar" role="img" aria-label="${label}">${parts.map(
    ({ name, size }, place) =>
      html`<i style="width: ${width(size)}; --color: var(--part-${(place % 8) + 1})" title="${name}"></i>`,
  )}</div>`;
}

function legend(parts: readonly Part[], text: (part: Part) => string): Html {
  return html`<ul class="parts">${parts.map(
    (part, place) =>
      html`<li><i class="swatch" style="--color: var(--part-${(place % 8) + 1})"></i>${part.name} <b>${text(part)}</b></li>`,
  )}</ul>`;
}

export function timeSplit({ data, summary }: Run): Html {
  const parts = summary.time.map(({ name, seconds }) => ({ name, size: seconds }));
  const sum = parts.reduce((total, { size }) => total + size, 0);
  if (sum <= 0) return html`<p class="muted">No time was recorded.</p>`;
  const text = ({ size }: Part) => `${duration(size)} · ${percent(size / sum)}`;
  const partly = data.metrics.logged_steps < data.metrics.step && data.metrics.logged_steps > 0;
  return html`${bar(parts, sum, text)}${legend(parts, text)}${partly && html`<p class="muted small">Updates: of ${data.metrics.logged_steps} logged steps, taken for all ${data.metrics.step}.</p>`}`;
}

export function memory({ data: { plan }, summary: { peak_bytes } }: Run): Html {
  const { total_bytes, ...purposes } = plan?.memory ?? {};
  const parts = Object.entries(purposes)
    .map(([name, size]) => ({ name: name.replaceAll('_', ' '), size }))
    .filter(({ size }) => size > 0);
  if (parts.length === 0) return html`<p class="muted">No memory plan is there.</p>`;
  const planned = total_bytes ?? parts.reduce((sum, { size }) => sum + size, 0);
  const whole = Math.max(planned, peak_bytes ?? 0);
  const text = ({ size }: Part) => byteSize(size);
  const used =
    peak_bytes === undefined ? 'not recorded' : `${byteSize(peak_bytes)}, ${percent(peak_bytes / planned)} of the plan`;
  return html`<div class="bars">
    <p class="size"><span>Planned</span> <b>${byteSize(planned)}</b></p>${bar(parts, whole, text)}
    <p class="size"><span>Used at most</span> <b>${used}</b></p>${peak_bytes !== undefined && html`<div class="bar thin" role="img" aria-label="used at most ${byteSize(peak_bytes)}"><i style="width: ${((peak_bytes / whole) * 100).toFixed(3)}%; --color: var(--ink-2)"></i></div>`}
  </div>${legend(parts, text)}${
    plan?.memory_limit_bytes !== undefined &&
    html`<p class="muted small">Allowed: ${byteSize(plan.memory_limit_bytes)}</p>`
  }`;
}
