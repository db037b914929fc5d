// The recipe as it was resolved, and what it ran on.

import { byteSize } from '../format.js';
import { type Html, html } from '../html.js';
import type { Run } from './overview.js';

export function recipes(runs: readonly Run[]): Html {
  return html`${runs.map(({ data: { recipe, name } }) =>
    recipe === undefined
      ? html`<p class="muted">recipe.yaml is not there.</p>`
      : html`<details class="fold"><summary class="title">${runs.length === 1 ? 'Every key, with its default' : name}</summary><pre class="yaml">${recipe.text.split('\n').map(yamlLine)}</pre></details>`,
  )}`;
}

function yamlLine(line: string): Html {
  const found = /^(\s*(?:- )?[\w./-]+:)(.*)$/.exec(line);
  return found ? html`<b>${found[1]}</b>${found[2]}\n` : html`${line}\n`;
}

export function environments(runs: readonly Run[]): Html {
  return html`${runs.map(({ data: { environment, name } }) => {
    if (environment === undefined)
      return html`<p class="muted">${runs.length > 1 && `${name}: `}environment.json is not there.</p>`;
    const rows = Object.entries(environment).map(
      ([key, value]) =>
        html`<div><dt>${key.replace(/_bytes$/, '').replaceAll('_', ' ')}</dt><dd>${shownValue(key, value)}</dd></div>`,
    );
    return html`${runs.length > 1 && html`<h3>${name}</h3>`}<dl class="facts-list">${rows}</dl>`;
  })}`;
}

function shownValue(key: string, value: unknown): string {
  if (typeof value === 'number' && key.endsWith('_bytes')) return byteSize(value);
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
}
