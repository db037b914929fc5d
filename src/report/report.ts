// report.html: one page of one run, or of several side by side. It needs nothing but itself: styles, scripts, data and the plotting library
// stand in it.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { onDisk } from '../common/on_disk.js';
import { packageFile } from '../common/package_file.js';
import { writeWhole } from '../output/folder.js';
import { type Chart, chartsOf, type Group } from './charts.js';
import { Html, html, jsonScript } from './html.js';
import { type RunData, readRun } from './read.js';
import { comparison, recipeDifferences, swatch } from './sections/comparison.js';
import { beforeAfter, header, type Run, tiles } from './sections/overview.js';
import { memory, timeSplit } from './sections/resources.js';
import { environments, recipes } from './sections/settings.js';
import { answersOfRuns, heldOutTexts, roundTexts } from './sections/texts.js';
import { troubles } from './sections/troubles.js';
import { type RunSummary, summarise } from './summary.js';

/** What a page is told that its folder does not say. */
export interface ReportOptions {
  /** Of the run that writes its own report; else a run without a final model is "not finished". */
  state?: 'interrupted' | undefined;
}

/** Writes the page of the runs in `folders` to `out`. Errors: ERR_GLEANER_USAGE where a folder is no run. */
export async function writeReport(
  folders: readonly string[],
  out: string,
  { state }: ReportOptions = {},
): Promise<RunSummary[]> {
  const data = await Promise.all(folders.map(readRun));
  const runs = withOwnNames(data).map((run): Run => ({ data: run, summary: summarise(run, state) }));
  await writeWhole(out, await page(runs));
  return runs.map(({ summary }) => summary);
}

/** Runs of one name are told apart by their folders. */
function withOwnNames(runs: readonly RunData[]): RunData[] {
  return runs.map((run) => {
    const shared = runs.filter(({ name }) => name === run.name).length > 1;
    return shared ? { ...run, name: `${run.name} (${run.path})` } : run;
  });
}

interface Section {
  id: string;
  title: string;
  body: Html;
}

export async function page(runs: readonly Run[]): Promise<string> {
  const charts = chartsOf(runs.map(({ data }) => data));
  const sections = sectionsOf(runs, charts).filter(({ body }) => body.text.trim() !== '');
  const assets = await readAssets();
  const title = runs.length === 1 ? `${runs[0]?.data.name ?? ''} · training report` : `${runs.length} runs compared`;
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="gleaner">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>${title}</title>
<style>${assets.uplotStyle}</style>
<style>${assets.style}</style>
</head>
<body>
<nav class="top" aria-label="Sections"><div class="wide">
  <ul>${sections.map(({ id, title: name }) => html`<li><a href="#${id}">${name}</a></li>`)}</ul>
  <button type="button" id="theme" hidden>Theme: auto</button>
</div></nav>
<main class="wide">
${header(runs)}
<noscript><p class="note">The curves need JavaScript; the rest of this page does not.</p></noscript>
${sections.map(({ id, title: name, body }) => html`<section id="${id}"><h2${id === 'overview' && new Html(' class="unseen"')}>${name}</h2>${body}</section>\n`)}
</main>
<footer class="wide muted">Written by gleaner. Drag over a curve to zoom all of them, double-click to see everything again; with the keyboard: arrows, + and −, Escape.</footer>
${jsonScript('data', pageData(runs, charts))}
<script>${assets.uplot}</script>
<script type="module">${assets.script}</script>
</body>
</html>
`.text;
}

function sectionsOf(runs: readonly Run[], charts: readonly Chart[]): Section[] {
  const [only] = runs;
  const single = runs.length === 1 && only ? only : undefined;
  const group = (name: Group) => chartGrid(charts, name);
  return [
    {
      id: 'overview',
      title: 'Overview',
      body: single ? tiles(single) : html`${comparison(runs)}`,
    },
    {
      id: 'training',
      title: 'Training',
      body: html`${controls(runs)}${orSay(group('training'), 'No step was recorded yet.')}`,
    },
    {
      id: 'evaluation',
      title: 'Held-out data',
      body: orSay(
        html`${single && beforeAfter(single)}${group('evaluation')}`,
        'Nothing was evaluated: the recipe has no data.eval, or the run has not come to it.',
      ),
    },
    { id: 'speed', title: 'Time and memory', body: resources(runs, charts) },
    { id: 'more', title: 'Other metrics', body: group('more') },
    {
      id: 'texts',
      title: 'Texts',
      body: single ? html`${heldOutTexts(single.data)}${roundTexts(single.data)}` : answersOfRuns(runs),
    },
    { id: 'troubles', title: 'What went wrong', body: troubles(runs) },
    { id: 'recipe', title: 'Recipe', body: html`${!single && recipeDifferences(runs)}${recipes(runs)}` },
    { id: 'environment', title: 'Environment', body: environments(runs) },
  ];
}

function orSay(body: Html, words: string): Html {
  return body.text === '' ? html`<p class="muted">${words}</p>` : body;
}

function controls(runs: readonly Run[]): Html {
  return html`<form class="controls" hidden>
    <label>Smoothing <input type="range" id="smoothing" min="0" max="0.98" step="0.02" value="0"> <output for="smoothing">0</output></label>
    <button type="button" id="reset" disabled>Whole run</button>
    ${
      runs.length > 1 &&
      html`<fieldset><legend>Runs</legend>${runs.map(
        ({ data }, place) =>
          html`<label class="chip"><input type="checkbox" checked data-run="${place}">${swatch(place)} ${data.name}</label>`,
      )}</fieldset>`
    }
  </form>`;
}

function chartGrid(charts: readonly Chart[], group: Group): Html {
  const figures = chartFigures(charts, group);
  return figures.length === 0 ? html`` : html`<div class="charts">${figures}</div>`;
}

function chartFigures(charts: readonly Chart[], group: Group): Html[] {
  const own = charts.flatMap((chart, place) => (chart.group === group ? [{ chart, place }] : []));
  return own.map(
    ({ chart, place }) => html`<figure class="chart" data-chart="${place}">
      <figcaption><h3>${chart.title}</h3>${chart.log && html`<button type="button" class="log" aria-pressed="false" hidden>log</button>`}<p class="about">${chart.note}</p></figcaption>
      <div class="legend"></div>
      <div class="plot" tabindex="0" role="img" aria-label="${chart.description}"></div>
    </figure>`,
  );
}

function resources(runs: readonly Run[], charts: readonly Chart[]): Html {
  const [only] = runs;
  const cards =
    runs.length === 1 && only
      ? html`<div class="card"><h3>Time</h3>${timeSplit(only)}</div><div class="card"><h3>Memory</h3>${memory(only)}</div>`
      : runs.map(
          (run, place) =>
            html`<div class="card"><h3>${swatch(place)} ${run.data.name}</h3><h4>Time</h4>${timeSplit(run)}<h4>Memory</h4>${memory(run)}</div>`,
        );
  return html`<div class="charts">${cards}${chartFigures(charts, 'speed')}</div>`;
}

/** What page/page.js draws from. */
function pageData(runs: readonly Run[], charts: readonly Chart[]) {
  return {
    runs: runs.map(({ data }) => ({ name: data.name, rounds: data.metrics.rounds })),
    charts: charts.map(({ lines, range, zero, log, smooth }) => ({ lines, range, zero, log, smooth })),
    steps: Math.max(1, ...runs.map(({ data }) => data.metrics.step)),
  };
}

/** Styles and scripts as they go into the page. None of them may hold what ends its element. */
async function readAssets(): Promise<Record<'style' | 'script' | 'uplot' | 'uplotStyle', Html>> {
  const read = async (url: string) => {
    const path = fileURLToPath(url);
    const text = await onDisk(path, () => readFile(path, 'utf8'), {
      failure: 'cannot be read',
      hint: 'It is part of gleaner: install the package again.',
    });
    return new Html(text.replace(/<\/(?=script|style)/gi, '<\\/').replace(/<!--/g, '<\\!--'));
  };
  // From src/ and from dist/ alike: the page's own files are shipped as they are.
  const own = (name: string) => packageFile(`src/report/page/${name}`).href;
  const [style, script, uplot, uplotStyle] = await Promise.all([
    read(own('page.css')),
    read(own('page.js')),
    read(import.meta.resolve('uplot/dist/uPlot.iife.min.js')),
    read(import.meta.resolve('uplot/dist/uPlot.min.css')),
  ]);
  return { style, script, uplot, uplotStyle };
}
