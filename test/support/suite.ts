// The tests' way to uvu. A suite runs itself, and what became of each test is written down for scripts/test.mjs, which does not trust the
// exit code: uvu leaves 0 when a `before` hook throws, when no test was registered and when `run()` was forgotten.

import { existsSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suite as uvuSuite } from 'uvu';

type Work = () => unknown;

interface Hook {
  (work: Work): void;
  each(work: Work): void;
}

export interface Test {
  (name: string, work: Work): void;
  /** Counted and said, and the reason with it. */
  skip(name: string, reason: string): void;
  before: Hook;
  after: Hook;
}

export interface SuiteReport {
  name: string;
  registered: number;
  passed: number;
  failed: number;
}

export interface Skip {
  name: string;
  reason: string;
  /** The shared data is missing: a failure where it has to be there. */
  data: boolean;
}

const report = { suites: [] as SuiteReport[], skips: [] as Skip[] };
const path = process.env.GLEANER_TEST_REPORT;
// At exit, whatever the way: a test whose promise never settles lets the process end, and is then missing from passed and failed.
if (path !== undefined) process.on('exit', () => writeFileSync(path, JSON.stringify(report)));

/** Names tests and runs them, in the order in which they were named, one after the other. */
export function suite(name: string, describe: (test: Test) => void): void {
  const inner = uvuSuite(name);
  const own: SuiteReport = { name, registered: 0, passed: 0, failed: 0 };
  report.suites.push(own);
  const add = (title: string, work: Work): void => {
    own.registered += 1;
    inner(title, async () => {
      try {
        await work();
      } catch (error) {
        own.failed += 1;
        throw error;
      }
      own.passed += 1;
    });
  };
  const hook = (outer: { (work: () => Promise<void>): void; each(work: () => Promise<void>): void }): Hook => {
    // A hook that throws would be swallowed by uvu (before) or end the suite (each): it is one failed test more.
    const guarded = (work: Work) => async () => {
      try {
        await work();
      } catch (error) {
        own.registered += 1;
        own.failed += 1;
        process.exitCode = 1;
        console.error(`a hook of ${name} failed:`, error);
        throw error;
      }
    };
    return Object.assign((work: Work) => outer(guarded(work)), { each: (work: Work) => outer.each(guarded(work)) });
  };
  describe(
    Object.assign(add, {
      skip: (title: string, reason: string) => {
        report.skips.push({ name: `${name}: ${title}`, reason, data: false });
        inner.skip();
      },
      before: hook(inner.before),
      after: hook(inner.after),
    }),
  );
  inner.run();
}

/**
 * The folder with the pretrained models and demonstrations that lies beside the repository (or where GLEANER_SHARED_DATA says).
 * undefined: it is not there, which this counts as one skip; CI counts it as a failure.
 */
export function sharedData(): string | undefined {
  const folder = process.env.GLEANER_SHARED_DATA ?? fileURLToPath(new URL('../../../shared/data', import.meta.url));
  if (existsSync(`${folder}/MANIFEST.md`)) return folder;
  report.skips.push({ name: 'tests with shared data', reason: `${folder} is missing`, data: true });
  return undefined;
}

/** Every |found − wanted| ≤ tolerance + relative·|wanted|; the message says where it is worst. NaN is never close. */
export function assertClose(
  found: number | ArrayLike<number>,
  wanted: number | ArrayLike<number>,
  tolerance: number,
  { what = 'value', relative = 0 }: { what?: string; relative?: number } = {},
): void {
  const [left, right] = [found, wanted].map((side) => (typeof side === 'number' ? [side] : side));
  if (left === undefined || right === undefined || left.length !== right.length) {
    throw new Error(`${what}: ${left?.length} numbers, wanted ${right?.length}`);
  }
  let worst = -1;
  let excess = 0;
  for (let i = 0; i < left.length; ++i) {
    const [a, b] = [left[i] ?? Number.NaN, right[i] ?? Number.NaN];
    const over = Object.is(a, b) ? 0 : Math.abs(a - b) / (tolerance + relative * Math.abs(b));
    if (!(over <= 1) && !(over <= excess)) [worst, excess] = [i, over];
  }
  if (worst >= 0) {
    const place = left.length > 1 ? ` at ${worst} of ${left.length}` : '';
    throw new Error(
      `${what}${place}: ${left[worst]}, wanted ${right[worst]} within ${tolerance}${relative > 0 ? ` and ${relative} of it` : ''}`,
    );
  }
}

/** Waits for `work` to fail and gives back its error; what it must be is `code` and, when given, a message that fits. */
export async function assertRejects(work: () => unknown, code: string, message?: RegExp): Promise<Error> {
  let error: unknown;
  try {
    await work();
  } catch (thrown) {
    error = thrown;
  }
  if (!(error instanceof Error))
    throw new Error(`expected ${code}, got ${error === undefined ? 'no error' : String(error)}`);
  const found = 'code' in error ? error.code : undefined;
  if (found !== code) throw new Error(`expected ${code}, got ${String(found)}: ${error.message}`, { cause: error });
  if (message !== undefined && !message.test(error.message))
    throw new Error(`expected ${message}, got: ${error.message}`, { cause: error });
  return error;
}
