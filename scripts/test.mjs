// npm test: the native tests (doctest), then the TypeScript tests (uvu), each file in a process of its own; the last line sums them.
//   npm test -- data models   only files whose path contains one of the words
//   npm test -- --slow        only *.slow.test.ts
// A test that was named and did not come back, a file without any test, a crash: each is a failure.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setUp } from './setup.mjs';
import { jobs, MissingPackages, root, run, SetupError } from './tools.mjs';

const minutes = 10; // no test file may take longer
const dataRequired = Boolean(process.env.GLEANER_REQUIRE_DATA || process.env.CI);

export const noTotals = () => ({ passed: 0, failed: 0, skipped: 0 });
export function add(sum, { passed, failed, skipped }) {
  sum.passed += passed;
  sum.failed += failed;
  sum.skipped += skipped;
}
export const lastLine = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;

function testFiles(folder, ending) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(ending))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(root.length))
    .sort();
}

const line = (ok, name, text) => console.log(`${ok ? '✓' : '✗'} ${name}: ${text}`);
const indented = (text) => text.trimEnd().replace(/^/gm, '    ');

/** One doctest executable of `folder`, only the given source files of it. */
async function nativeFolder(executable, name, files) {
  const filter = files.map((file) => `*/${file}`).join(',');
  const { code, signal, output } = await run(
    'timeout',
    ['-k', '5', `${minutes}m`, executable, '--no-colors', `--source-file=${filter}`],
    {
      quiet: true,
    },
  );
  const found = /test cases:\s+(\d+) \|\s+(\d+) passed \|\s+(\d+) failed/.exec(output);
  const [cases, passed, failed] = found ? found.slice(1).map(Number) : [0, 0, 0];
  const ok = code === 0 && failed === 0 && cases > 0;
  line(
    ok,
    `native ${name}`,
    found ? `${passed} passed${failed > 0 ? `, ${failed} failed` : ''}` : `ended with ${signal ?? code}`,
  );
  if (!ok) console.log(indented(cases === 0 && code === 0 ? 'no test was run' : output));
  return { passed, failed: ok ? 0 : Math.max(1, failed), skipped: 0 };
}

/** The native tests that a build left in `folder`; every file of `files` belongs to one of its executables. */
export async function nativeTests(folder, files) {
  const sum = noTotals();
  for (const name of new Set(files.map((file) => file.split('/')[2]))) {
    const own = files.filter((file) => file.split('/')[2] === name);
    add(sum, await nativeFolder(join(folder, `test_${name}`), name, own));
  }
  return sum;
}

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return { suites: [], skips: [] }; // the process died before it could write
  }
}

async function typescriptFile(file, report) {
  const begun = performance.now();
  const args = ['-k', '5', `${minutes}m`, process.execPath, '--import', 'tsx', file];
  const { code, signal, output } = await run('timeout', args, {
    quiet: true,
    env: { GLEANER_TEST_REPORT: report, FORCE_COLOR: '0' },
  });
  const { suites, skips } = readReport(report);
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  const sum = noTotals();
  const lines = [];
  for (const { name, registered, passed, failed } of suites) {
    const lost = registered - passed - failed;
    add(sum, { passed, failed: failed + lost, skipped: registered === 0 ? 1 : 0 });
    if (failed > 0) lines.push(`${failed} failed in ${name}`);
    if (lost > 0) lines.push(`${lost} of ${name} never finished`);
    if (registered === 0) lines.push(`skipped: ${name} named no test`);
  }
  for (const { name, reason, data } of skips) {
    add(sum, { passed: 0, failed: data && dataRequired ? 1 : 0, skipped: data && dataRequired ? 0 : 1 });
    lines.push(`${data && dataRequired ? 'failed' : 'skipped'}: ${name}: ${reason}`);
  }
  if (sum.passed + sum.failed === 0 && skips.length === 0) {
    sum.failed += 1;
    if (code !== 0) lines.push(`ended with ${signal ?? code}`);
    else lines.push(suites.length === 0 ? 'no suite was run' : 'the file names no test');
  } else if (code !== 0 && sum.failed === 0) {
    sum.failed += 1;
    lines.push(code === 124 ? `not done after ${minutes} minutes` : `ended with ${signal ?? code}`);
  }
  return { file, sum, lines, output, seconds };
}

function reportFile({ file, sum, lines, output, seconds }) {
  line(sum.failed === 0, file, `${lastLine(sum).replace(', 0 failed', '')} (${seconds} s)`);
  for (const text of lines) console.log(indented(text));
  if (sum.failed > 0) console.log(indented(output));
}

/** Several at a time, said in order. */
async function typescriptTests(files) {
  const folder = mkdtempSync(join(tmpdir(), 'gleaner-test-'));
  const sum = noTotals();
  try {
    const done = files.map(() => Promise.withResolvers?.() ?? deferred());
    let next = 0;
    const worker = async () => {
      for (let i = next++; i < files.length; i = next++)
        done[i].resolve(await typescriptFile(files[i], join(folder, `${i}.json`)));
    };
    const workers = Promise.all(Array.from({ length: Math.min(jobs, 2) }, worker));
    for (const { promise } of done) {
      const result = await promise;
      reportFile(result);
      add(sum, result.sum);
    }
    await workers;
    return sum;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function deferred() {
  let resolve;
  const promise = new Promise((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** Which files the words choose, of the fast tests or of the slow ones. */
export function chooseTests(words, { slow = false } = {}) {
  const chosen = (file) => words.length === 0 || words.some((word) => file.includes(word));
  return {
    native: slow ? [] : testFiles('test/native', '_test.cc').filter(chosen),
    typescript: testFiles('test', '.test.ts').filter((file) => chosen(file) && file.endsWith('.slow.test.ts') === slow),
  };
}

/** Sets up what the chosen tests need and runs them. A part that cannot be built is one failure, and the other parts still run. */
export async function runTests({ native, typescript }) {
  const sum = noTotals();
  const step = async (needs) => {
    try {
      await setUp(needs);
      return true;
    } catch (error) {
      if (!(error instanceof SetupError) || error instanceof MissingPackages) throw error;
      console.log(`✗ set-up: ${error.message}`);
      sum.failed += 1;
      return false;
    }
  };
  await step({ addon: false, compiled: false }).then((ready) => {
    if (!ready) throw new SetupError('no test can run before that');
  });
  const built = await step({ tests: native.length > 0, compiled: false });
  if (typescript.length > 0) await step({ addon: false });
  if (built && native.length > 0) add(sum, await nativeTests(join(root, 'build/tests'), native));
  if (typescript.length > 0) add(sum, await typescriptTests(typescript));
  return sum;
}

export async function test(args) {
  const slow = args.includes('--slow');
  const words = args.filter((arg) => arg !== '--slow');
  const unknown = words.find((word) => word.startsWith('-'));
  if (unknown !== undefined)
    throw new SetupError(`npm test knows no ${unknown}; it takes words that paths contain, and --slow`);
  const chosen = chooseTests(words, { slow });
  if (chosen.native.length + chosen.typescript.length === 0)
    throw new SetupError(`no test file has ${words.join(' or ') || 'that kind'} in its path`);
  const sum = await runTests(chosen);
  console.log(lastLine(sum));
  return sum.failed > 0 ? 1 : 0;
}
