// What the command line asks for.

import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import type { AnyCase } from './case.js';
import { cases } from './cases/cases.js';

export const USAGE = `usage: npm run bench -- [--python PATH] [--only CASE[,CASE]] [--threads 1,2] [--rounds N] [--quick] [--json FILE] [--resume]
       npm run bench -- --compare OLD.json[,NEW.json]   a run against OLD, or two files without a run; exit code 1 for a regression
       npm run bench -- --setup-peers                   a Python and a node folder with the peers, found by later runs
       npm run bench -- --write-docs FILE.json          tables and plots of docs/performance.md
       npm run bench -- --list`;

export interface Settings {
  python: string | undefined;
  chosen: readonly AnyCase[];
  threads: readonly number[];
  rounds: number;
  quick: boolean;
  json: string | undefined;
  resume: boolean;
  compare: readonly string[];
  setup_peers: boolean;
  write_docs: string | undefined;
  list: boolean;
}

/** Throws TypeError, as parseArgs does, for what cannot be. */
export function settings(args: readonly string[], known: readonly AnyCase[] = cases): Settings {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      python: text,
      only: text,
      threads: text,
      rounds: text,
      json: text,
      compare: text,
      'write-docs': text,
      quick: flag,
      resume: flag,
      'setup-peers': flag,
      list: flag,
    },
  });
  const whole = (name: string, value: string) => {
    const number = Number(value);
    if (!Number.isInteger(number) || number < 1) throw new TypeError(`--${name} is ${value}: a whole number above 0`);
    return number;
  };
  const names = values.only?.split(',');
  const fits = ({ name, group }: AnyCase, wanted: string) => name === wanted || group === wanted;
  const unknown = names?.find((wanted) => !known.some((one) => fits(one, wanted)));
  if (unknown !== undefined) throw new TypeError(`--only knows no case or group ${unknown}: --list names them`);
  const quick = values.quick ?? false;
  const usual = [1, 2].filter((count) => count <= availableParallelism());
  const chosen = known.filter((one) =>
    names ? names.some((wanted) => fits(one, wanted)) : !quick || one.quick === true,
  );
  const compare = values.compare?.split(',') ?? [];
  if (compare.length > 2) throw new TypeError('--compare takes OLD.json, or OLD.json,NEW.json');
  return {
    python: values.python ?? process.env.GLEANER_BENCH_PYTHON,
    chosen,
    threads: values.threads?.split(',').map((value) => whole('threads', value)) ?? (quick ? usual.slice(-1) : usual),
    rounds: values.rounds === undefined ? (quick ? 3 : 7) : whole('rounds', values.rounds),
    quick,
    json: values.json,
    resume: values.resume ?? false,
    compare,
    setup_peers: values['setup-peers'] ?? false,
    write_docs: values['write-docs'],
    list: values.list ?? false,
  };
}

/** The command as others may type it: paths of this machine are theirs to fill in. */
export function withoutPaths(args: readonly string[]): string[] {
  const paths = ['--python', '--json', '--compare'];
  return args.map((arg, i) => {
    if (paths.includes(args[i - 1] ?? '')) return 'PATH';
    const name = paths.find((path) => arg.startsWith(`${path}=`));
    return name === undefined ? arg : `${name}=PATH`;
  });
}
