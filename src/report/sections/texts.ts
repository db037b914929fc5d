// What the model wrote, beside what people wrote: word by word, what only one of the two has is marked.

import { diffWordsWithSpace } from 'diff';
import type { GenerationRow } from '../../output/generations.js';
import { count, figure, plural } from '../format.js';
import { Html, html } from '../html.js';
import type { RunData } from '../read.js';
import { swatch } from './comparison.js';
import type { Run } from './overview.js';

const LONGEST_PROMPT = 1000;
const LONGEST_TEXT = 3000;
/** Comparing two long texts that have nothing in common takes long; then they stand there unmarked. */
const DIFF = { timeout: 200, maxEditLength: 4000, intlSegmenter: new Intl.Segmenter('en', { granularity: 'word' }) };

interface Compared {
  real: Html;
  generated: Html;
}

export function compared(real: string, generated: string): Compared {
  const [left, right] = [clip(real, LONGEST_TEXT), clip(generated, LONGEST_TEXT)];
  const parts = diffWordsWithSpace(left, right, DIFF);
  if (!parts) return { real: html`${left}`, generated: html`${right}` };
  const side = (mark: 'del' | 'ins', show: (part: { added: boolean; removed: boolean }) => boolean) =>
    new Html(
      parts
        .filter(show)
        .map((part) =>
          part.added || part.removed ? html`<${new Html(mark)}>${part.value}</${new Html(mark)}>` : html`${part.value}`,
        )
        .join(''),
    );
  return { real: side('del', (part) => !part.added), generated: side('ins', (part) => !part.removed) };
}

function clip(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}… (${count(text.length - length)} characters more)` : text;
}

/** Data that came as ids has no text. */
function shown(text: string, ids: ArrayLike<number>): string {
  return text === '' && ids.length > 0 ? `ids ${Array.from(ids).join(' ')}` : text;
}

const promptOf = ({ prompt, prompt_ids }: GenerationRow) => clip(shown(prompt, prompt_ids), LONGEST_PROMPT);
const responseOf = ({ response, response_ids }: GenerationRow) => shown(response, response_ids);
const demonstrationOf = ({ demonstration, demonstration_ids }: GenerationRow) =>
  shown(demonstration, demonstration_ids);

const endings: Readonly<Record<GenerationRow['finish_reason'], string>> = {
  eos: 'ended by itself',
  stop: 'ended by a stop string',
  length: 'cut at the longest length',
};

const MARKS = html`<p class="muted small">Marked: <del>only in the demonstration</del> <ins>only in the generated answer</ins></p>`;

function text(title: Part, body: Html | string, kind = ''): Html {
  const empty = String(body) === '';
  return html`<div class="text ${kind}"><h5>${title}</h5><p class="words" dir="auto">${empty ? html`<span class="muted">nothing</span>` : body}</p></div>`;
}
type Part = Html | string;

export function roundTexts({ rounds, metrics }: RunData): Html {
  if (rounds.shown.length === 0) return html``;
  const left =
    rounds.all > rounds.shown.length
      ? html`<p class="muted">${rounds.shown.length} of ${rounds.all} rounds are shown.</p>`
      : '';
  return html`<h3>What each round trained on</h3>
    ${MARKS}${left}
    ${rounds.shown.map((round, place) => {
      const begins = metrics.rounds.find((border) => border.round === round.at)?.step;
      const after = begins === undefined ? '' : `, written after ${plural(begins, 'step')}`;
      return html`<details class="fold"${(place === 0 || place === rounds.shown.length - 1) && new Html(' open')}>
        <summary class="title">Round ${round.at} <span class="muted">${round.rows.length} of ${plural(round.num_rows, 'answer')}${after}</span></summary>
        ${round.rows.map(pairCard)}
      </details>`;
    })}`;
}

function pairCard(row: GenerationRow): Html {
  const { logprob, finish_reason, id, response_ids } = row;
  const about = `log π ${figure(logprob)} · ${plural(response_ids.length, 'token')} · ${endings[finish_reason]}`;
  const { real, generated } = compared(demonstrationOf(row), responseOf(row));
  return html`<article class="sample">
    ${text(html`Prompt <span class="muted">${id}</span>`, promptOf(row), 'prompt')}
    <div class="sides">
      ${text('Demonstration', real, 'real')}
      ${text(html`Generated <span class="muted">${about}</span>`, generated, 'generated')}
    </div>
  </article>`;
}

/** Held-out prompts and their answers over the run's steps. */
export function heldOutTexts({ samples }: RunData): Html {
  const last = samples.shown.at(-1);
  if (!last) return html``;
  const left =
    samples.all > samples.shown.length
      ? html`<p class="muted">${samples.shown.length} of ${samples.all} steps are shown.</p>`
      : '';
  return html`<h3>Held-out prompts over the run</h3>
    ${MARKS}${left}
    ${last.rows.map((row) =>
      sampleCard(
        row,
        samples.shown.map(({ at, rows }) => ({
          title: `After step ${count(at)}`,
          row: rows.find(({ id }) => id === row.id),
        })),
      ),
    )}`;
}

/** The last answers of each run to the same prompts. */
export function answersOfRuns(runs: readonly Run[]): Html {
  const lasts = runs.map(({ data }) => data.samples.shown.at(-1));
  const rows = lasts.find((last) => last !== undefined)?.rows ?? [];
  if (rows.length === 0) return html``;
  return html`<h3>Held-out prompts, answered by each run at its end</h3>
    ${MARKS}
    ${rows.map((row) =>
      sampleCard(
        row,
        runs.map(({ data }, place) => ({
          title: html`${swatch(place)} ${data.name}`,
          row: lasts[place]?.rows.find((other) => other.id === row.id && other.prompt === row.prompt),
        })),
      ),
    )}`;
}

function sampleCard(row: GenerationRow, answers: readonly { title: Part; row: GenerationRow | undefined }[]): Html {
  const demonstration = demonstrationOf(row);
  return html`<article class="sample">
    ${text(html`Prompt <span class="muted">${row.id}</span>`, promptOf(row), 'prompt')}
    <div class="sides">
      ${text('Demonstration', clip(demonstration, LONGEST_TEXT), 'real')}
      ${answers.map(({ title, row: answer }) =>
        answer
          ? text(title, compared(demonstration, responseOf(answer)).generated, 'generated')
          : text(title, html`<span class="muted">not asked</span>`, 'generated'),
      )}
    </div>
  </article>`;
}
