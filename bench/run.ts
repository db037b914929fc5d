// npm run bench: each case with gleaner and its peers side by side, a table, and a JSON file with every round. README.md has the protocol.

import { mkdtemp, rm } from 'node:fs/promises';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { engineInfo } from '../src/engine/engine.js';
import { cases } from './cases/cases.js';
import { compared, comparison } from './compare.js';
import { writeDocs } from './docs.js';
import { buildPeak, commit, processorName } from './machine.js';
import { WARM_UP } from './measure.js';
import { type Report, ResultsError, readReport, rowsToKeep, writeReport } from './results.js';
import { runRow } from './row.js';
import { type Settings, settings, USAGE, withoutPaths } from './settings.js';
import { peersFolder, setUpPeers } from './setup_peers.js';
import { table } from './table.js';

const say = (text: string) => console.log(text);

function settingsOrUsage(args: readonly string[]): Settings | undefined {
  try {
    return settings(args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // parseArgs' errors are TypeErrors, as are ours
    console.error(`${error.message}\n${USAGE}`);
    return undefined;
  }
}

async function measureAll(given: Settings): Promise<Report> {
  const { isa, cpu } = engineInfo();
  const date = new Date().toISOString();
  const python = given.python ?? peersFolder().python;
  const machine = { name: processorName(), cpu, cores: cpus().length, memory_bytes: totalmem(), isa };
  const report: Report = {
    date,
    machine,
    commit: await commit(),
    command: `npm run bench -- ${withoutPaths(process.argv.slice(2)).join(' ')}`.trimEnd(),
    quick: given.quick,
    rounds: given.rounds,
    python: python !== undefined,
    finished: false,
    versions: { node: process.versions.node },
    rows: [],
  };
  say(
    `${cpu}, ${machine.cores} cores, ${isa}; gleaner ${report.commit}; ${given.rounds} rounds after ${WARM_UP} warm-up rounds`,
  );
  if (python === undefined) say('No --python, and no --setup-peers before: no Python peer, no ratio to one.');
  const file = given.json ?? defaultFile(date, machine.name, given.quick);
  const kept = await rowsToKeep(file, report, given.resume);
  if (kept.because !== '') say(`Begins anew: ${kept.because}`);
  if (kept.rows.length > 0) say(`Goes on after ${kept.rows.length} rows of ${file}`);
  report.rows.push(...kept.rows);
  const tools = await mkdtemp(join(tmpdir(), 'gleaner-bench-'));
  try {
    const limits = await buildPeak(tools, isa);
    if (!limits) say("The machine's limits were not measured: no C++ compiler.");
    const most_threads = Math.max(...given.threads);
    for (const one of given.chosen) {
      for (const threads of given.threads) {
        if (one.threads && !one.threads.includes(threads)) continue;
        if (report.rows.some((row) => row.name === one.name && row.threads === threads)) continue;
        const { rounds, quick } = given;
        const settings = { python, threads, most_threads, rounds, quick, models: join(tools, 'models'), limits };
        const row = await runRow(one, settings);
        report.rows.push(row);
        if (row.kind === 'rounds') {
          Object.assign(report.versions, row.versions);
          for (const [peer, why] of Object.entries(row.missing)) say(`  ${peer}: no ratio: ${why}`);
        }
        await writeReport(file, report);
        say(`${one.name}, ${threads} thread${threads > 1 ? 's' : ''}: ${row.seconds.toFixed(0)} s`);
      }
    }
  } finally {
    await rm(tools, { recursive: true, force: true });
  }
  report.finished = true;
  await writeReport(file, report);
  say(table(report.rows));
  for (const { name, about } of given.chosen) say(`${name}: ${about}`);
  say(`Every round: ${file}`);
  return report;
}

function defaultFile(date: string, machine: string, quick: boolean): string {
  const name = `${date.slice(0, 10)}-${machine}${quick ? '-quick' : ''}.json`;
  return fileURLToPath(new URL(`results/${name}`, import.meta.url));
}

/** Prints; answers the exit code. */
async function against(old: Report, now: Report): Promise<number> {
  const found = compared(old, now);
  say(comparison(found, old, now));
  return found.some(({ verdict }) => verdict === 'worse') ? 1 : 0;
}

async function main(given: Settings): Promise<number> {
  if (given.list) {
    for (const { name, group, about } of cases) say(`${name} (${group}): ${about}`);
    return 0;
  }
  if (given.setup_peers) return (await setUpPeers(say)) ? 0 : 1;
  if (given.write_docs !== undefined) {
    for (const file of await writeDocs(await readReport(given.write_docs))) say(`written: ${file}`);
    return 0;
  }
  const [old, now] = given.compare;
  const before = old === undefined ? undefined : await readReport(old);
  if (before && now !== undefined) return against(before, await readReport(now));
  const report = await measureAll(given);
  const disagree = report.rows.flatMap((row) =>
    row.kind === 'rounds' && Object.values(row.checks).some(({ agrees }) => !agrees) ? [row.name] : [],
  );
  if (disagree.length > 0) say(`The sides did not compute the same: ${[...new Set(disagree)].join(', ')}`);
  const worse = before ? await against(before, report) : 0;
  return disagree.length > 0 ? 1 : worse;
}

const given = settingsOrUsage(process.argv.slice(2));
try {
  process.exitCode = given ? await main(given) : 1;
} catch (error) {
  if (!(error instanceof ResultsError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
