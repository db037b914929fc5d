// docs/performance.md's tables and plots, from a run's JSON. Prose is written by hand around the markers; a group's table stands between
// <!-- bench:GROUP --> and <!-- /bench -->, the machine's line between <!-- bench:machine --> and <!-- /bench -->.

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Bar, barPlot, linePlot } from './plot.js';
import { type CurveRow, type FiguresRow, type Report, ResultsError, type RoundsRow } from './results.js';
import { summaryOf } from './summary.js';
import { amount, limit, ratio, said } from './table.js';

const page = fileURLToPath(new URL('../docs/performance.md', import.meta.url));

/** Fills the page's markers and writes the plots beside it; answers what was written. */
export async function writeDocs(report: Report, file = page): Promise<string[]> {
  const before = await readFile(file, 'utf8');
  const plots = plotsOf(report);
  const after = filled(before, report);
  if (after === before && !/<!-- bench:/.test(before))
    throw new ResultsError(`${file}: has no <!-- bench:GROUP --> … <!-- /bench --> to fill`);
  const folder = join(dirname(file), 'performance');
  await mkdir(folder, { recursive: true });
  for (const [name, svg] of plots) await writeFile(join(folder, name), svg);
  await writeFile(file, after);
  return [file, ...[...plots.keys()].map((name) => join(folder, name))];
}

/** A marker of a group that the run does not have keeps what stands there. */
export function filled(text: string, report: Report): string {
  return text.replace(
    /(<!-- bench:([\w-]+) -->\n)([\s\S]*?)(<!-- \/bench -->)/g,
    (_, open: string, group: string, old: string, close: string) => {
      const made = group === 'machine' ? machine(report) : groupTable(report, group);
      return `${open}${made === '' ? old : `\n${made}\n\n`}${close}`;
    },
  );
}

function machine({ machine, commit, date, rounds, versions }: Report): string {
  const named = Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
  const memory = (machine.memory_bytes / 1e9).toFixed(0);
  return `${machine.cpu}, ${machine.cores} cores, ${memory} GB, kernels ${machine.isa}; gleaner ${commit}, ${date.slice(0, 10)}, up to ${rounds} rounds; ${named}.`;
}

function groupTable(report: Report, group: string): string {
  const rows = report.rows.filter((row) => row.group === group);
  const rounds = rows.filter((row): row is RoundsRow => row.kind === 'rounds');
  const figures = rows.filter((row): row is FiguresRow => row.kind === 'figures');
  const curves = rows.filter((row): row is CurveRow => row.kind === 'curve');
  const parts: string[] = [];
  if (rounds.length > 0) {
    parts.push(
      [
        '| case | threads | ms | of the limit | tokens/s | peer | ratio, median [min–max] | in CPU time | goal | check | rounds |',
        '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
        ...rounds.flatMap(roundsLines),
      ].join('\n'),
    );
    if (barsOf(rounds).length > 0) parts.push(`![Ratios to the peers: ${group}](performance/${group}.svg)`);
  }
  if (figures.length > 0) parts.push(figuresTable(figures));
  for (const { name, about, threads } of curves) parts.push(`![${about}](performance/${curveFile(name, threads)})`);
  return parts.join('\n\n');
}

function roundsLines(row: RoundsRow): string[] {
  const found = summaryOf(row);
  const busy = found.busy_rounds > 0 ? ` (${found.busy_rounds} busy)` : '';
  const tokens = row.rounds[0]?.work.tokens ? found.tokens_per_second?.median.toFixed(0) : undefined;
  const goal = row.goals.share_of_peak ?? row.goals.share_of_bandwidth;
  const share = `${limit(found)}${goal === undefined ? '' : ` (goal ${(100 * goal).toFixed(0)} %)`}`;
  const ours = [row.about, row.threads, found.ours_ms?.median.toPrecision(3) ?? '', share, tokens ?? ''];
  const peers = [...new Set([...Object.keys(found.peers), ...Object.keys(row.missing)])];
  if (peers.length === 0) return [`| ${[...ours, '', '', '', '', '', `${row.rounds.length}${busy}`].join(' | ')} |`];
  return peers.map((peer, i) => {
    const { ratio: times, cpu_ratio } = found.peers[peer] ?? {};
    const wanted = row.goals.ratio?.[peer];
    const cells = [
      ...(i === 0 ? ours : ['', '', '', '', '']),
      peer,
      ratio(times),
      ratio(cpu_ratio),
      wanted === undefined ? '' : `${wanted}×`,
      row.missing[peer] ?? said(row.checks[peer]),
      i === 0 ? `${row.rounds.length}${busy}` : '',
    ];
    return `| ${cells.map((cell) => String(cell).replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`;
  });
}

function figuresTable(rows: readonly FiguresRow[]): string {
  return [
    '| figure | threads | gleaner | goal | peers |',
    '| --- | --- | --- | --- | --- |',
    ...rows.flatMap(({ threads, figures }) =>
      figures.map(({ name, unit, ours, peers, at_most }) => {
        const others = Object.entries(peers)
          .map(([peer, value]) => `${peer}: ${amount(value, unit)} (${(value / ours).toFixed(1)}×)`)
          .join(', ');
        return `| ${name} | ${threads} | ${amount(ours, unit)} | ${at_most === undefined ? '' : `≤ ${amount(at_most, unit)}`} | ${others} |`;
      }),
    ),
  ].join('\n');
}

function barsOf(rows: readonly RoundsRow[]): Bar[] {
  return rows.flatMap((row) =>
    Object.entries(summaryOf(row).peers).flatMap(([peer, { ratio: times }]) => {
      const goal = row.goals.ratio?.[peer];
      const name = `${row.name}, ${row.threads}T: ${peer}`;
      return times ? [{ name, ...times, ...(goal === undefined ? {} : { goal }) }] : [];
    }),
  );
}

function curveFile(name: string, threads: number): string {
  return `${name}-${threads}.svg`;
}

export function plotsOf(report: Report): Map<string, string> {
  const plots = new Map<string, string>();
  for (const group of new Set(report.rows.map((row) => row.group))) {
    const rows = report.rows.filter((row): row is RoundsRow => row.kind === 'rounds' && row.group === group);
    const bars = barsOf(rows);
    if (bars.length > 0)
      plots.set(`${group}.svg`, barPlot(`${group}: peer’s time over gleaner’s`, 'ratio; goal in orange', bars));
  }
  for (const row of report.rows) {
    if (row.kind !== 'curve') continue;
    const title = `${row.about}, ${row.threads} thread${row.threads > 1 ? 's' : ''}`;
    plots.set(curveFile(row.name, row.threads), linePlot({ title, x: row.x, y: row.y, lines: row.lines }));
  }
  return plots;
}
