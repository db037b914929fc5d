// npm run bench: each case with gleaner and its peer side by side, a table, and a JSON file with every round. README.md has the protocol.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { engineInfo } from '../src/engine/engine.js';
import type { Case } from './case.js';
import { cases } from './cases/cases.js';
import { buildPeak, commit } from './machine.js';
import { measure, summary, WARM_UP } from './measure.js';
import { Peer } from './peer.js';
import { type Row, table } from './table.js';

const USAGE = `usage: npm run bench -- [--python PATH] [--only ${cases.map(({ name }) => name).join('|')}] [--threads 1,2] [--rounds N] [--quick] [--json FILE]`;

interface Settings {
  python: string | undefined;
  chosen: readonly Case[];
  threads: readonly number[];
  rounds: number;
  json: string | undefined;
}

type Result = Row & Awaited<ReturnType<typeof measure>> & { about: string; peer: string; seconds: number };
type Peak = Awaited<ReturnType<typeof buildPeak>>;

function settings(args: readonly string[]): Settings {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: { python: text, only: text, threads: text, rounds: text, json: text, quick: { type: 'boolean' } },
  });
  const whole = (name: string, value: string) => {
    const number = Number(value);
    if (!Number.isInteger(number) || number < 1) throw new TypeError(`--${name} is ${value}: a whole number above 0`);
    return number;
  };
  const names = values.only?.split(',');
  const unknown = names?.find((name) => !cases.some((known) => known.name === name));
  if (unknown !== undefined) throw new TypeError(`--only knows no case ${unknown}`);
  const usual = [1, 2].filter((count) => count <= availableParallelism());
  return {
    python: values.python ?? process.env.GLEANER_BENCH_PYTHON,
    chosen: cases.filter(({ name }) => names?.includes(name) ?? true),
    threads: values.threads?.split(',').map((value) => whole('threads', value)) ?? usual,
    rounds: values.rounds === undefined ? (values.quick ? 3 : 7) : whole('rounds', values.rounds),
    json: values.json,
  };
}

async function runCase(
  one: Case,
  threads: number,
  { python, rounds }: Settings,
  peak: Peak,
  note: (text: string) => void,
): Promise<Result & { versions: Record<string, string> }> {
  const folder = await mkdtemp(join(tmpdir(), 'gleaner-bench-'));
  const start = performance.now();
  try {
    await using ours = await one.open({ threads, folder, rounds: WARM_UP + rounds });
    const started =
      python === undefined
        ? undefined
        : await Peer.start(python, one.peer.script, ours.peerLoad).catch((error: unknown) => {
            note(`${one.name}: no peer, no ratio: ${error instanceof Error ? error.message : error}`);
            return undefined;
          });
    await using peer = started?.peer;
    const { isa } = engineInfo();
    const measured = await measure(ours, peer, rounds, peak && (() => peak(isa, threads)));
    const agreed = measured.check?.agrees ?? false;
    return {
      name: one.name,
      about: one.about,
      peer: one.peer.name,
      threads,
      ...measured,
      summary: summary(measured.rounds, agreed),
      versions: started?.versions ?? {},
      seconds: (performance.now() - start) / 1e3,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function settingsOrUsage(args: readonly string[]): Settings | undefined {
  try {
    return settings(args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error; // parseArgs' errors are TypeErrors, as are ours
    console.error(`${error.message}\n${USAGE}`);
    return undefined;
  }
}

async function main(given: Settings): Promise<void> {
  const say = (text: string) => console.log(text);
  const { isa, cpu } = engineInfo();
  const gleaner = await commit();
  say(
    `${cpu}, ${cpus().length} cores, ${isa}; gleaner ${gleaner}; ${given.rounds} rounds after ${WARM_UP} warm-up rounds`,
  );
  if (given.python === undefined) say('No --python: gleaner alone, no peer, no ratio.');
  const tools = await mkdtemp(join(tmpdir(), 'gleaner-bench-'));
  const results: Result[] = [];
  let versions: Record<string, string> = {};
  try {
    const peak = await buildPeak(tools);
    if (!peak) say('The multiply-add peak was not measured: no C++ compiler, or no AVX2.');
    for (const one of given.chosen) {
      for (const threads of given.threads) {
        const { versions: told, ...result } = await runCase(one, threads, given, peak, say);
        versions = { ...versions, ...told };
        results.push(result);
        say(`${one.name}, ${threads} thread${threads > 1 ? 's' : ''}: ${result.seconds.toFixed(0)} s`);
      }
    }
  } finally {
    await rm(tools, { recursive: true, force: true });
  }
  say(table(results));
  for (const { name, about, peer } of given.chosen.map((one) => ({ ...one, peer: one.peer.name }))) {
    say(`${name}: ${about}; peer: ${peer}`);
  }
  const date = new Date().toISOString();
  const machine = { name: shortName(), cpu, cores: cpus().length, memory_bytes: totalmem(), isa };
  const file = given.json ?? defaultFile(date, machine.name);
  const command = `npm run bench -- ${withoutPaths(process.argv.slice(2)).join(' ')}`.trimEnd();
  await mkdir(dirname(file), { recursive: true });
  const report = {
    date,
    machine,
    commit: gleaner,
    command,
    versions: { node: process.versions.node, ...versions },
    results,
  };
  await writeFile(file, `${JSON.stringify(report, null, 1)}\n`);
  say(`Every round: ${file}`);
}

/** What a reader may know of the machine: its processor, not its host name. */
function shortName(): string {
  const processor = cpus()[0]?.model ?? 'unknown';
  return processor
    .toLowerCase()
    .replace(/\(.*?\)|processor|cpu|@.*/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 24);
}

function defaultFile(date: string, machine: string): string {
  return fileURLToPath(new URL(`results/${date.slice(0, 10)}-${machine}.json`, import.meta.url));
}

/** The command as others may type it: paths of this machine are theirs to fill in. */
function withoutPaths(args: readonly string[]): string[] {
  return args.map((arg, i) =>
    ['--python', '--json'].includes(args[i - 1] ?? '') ? 'PATH' : arg.replace(/^(--python|--json)=.*/, '$1=PATH'),
  );
}

const given = settingsOrUsage(process.argv.slice(2));
if (given) await main(given);
else process.exitCode = 1;
