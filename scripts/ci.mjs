// Everything that a change must pass, in a fresh clone: .ci/run calls it. A check such as lint counts as one test; the last line sums them all.
// Nothing is left out when something fails before it, and a tool or data that is missing is a failure, not a reason to pass.
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, debianPackages } from './debian.mjs';
import { setUp } from './setup.mjs';
import { add, chooseTests, lastLine, nativeTests, noTotals, runTests } from './test.mjs';
import { ask, jobs, npmBin, root, run, SetupError } from './tools.mjs';

process.env.CI ??= 'true';
process.env.GLEANER_WERROR ??= '1';

const sum = noTotals();
const failures = [];

async function stage(name, work) {
  console.log(`\n── ${name}`);
  const begun = performance.now();
  const result = await work().catch((error) => {
    console.log(error instanceof SetupError ? error.message : error);
    return { passed: 0, failed: 1, skipped: 0 };
  });
  add(sum, result);
  if (result.failed > 0) failures.push(name);
  const seconds = ((performance.now() - begun) / 1000).toFixed(0);
  console.log(`${result.failed > 0 ? '✗' : '✓'} ${name}: ${result.passed} ok, ${result.failed} not (${seconds} s)`);
}

/** One command is one test; its output is shown when it fails. */
const check = (name, command, args, options) =>
  stage(name, async () => {
    const { code, output } = await run(command, args, { quiet: true, ...options });
    if (code !== 0) console.log(output.trimEnd());
    return { passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 };
  });
const node = (name, path, ...args) => check(name, process.execPath, [path, ...args]);

async function clangTidy() {
  const wanted = { required: ['clang-tidy'], optional: true };
  if (ask('clang-tidy', ['--version']) === undefined && !debianPackages({}, wanted)) {
    console.log('clang-tidy is not here and may not be installed by this user');
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const sources = readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.cc'))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
  let next = 0;
  let failed = false;
  const worker = async () => {
    for (let i = next++; i < sources.length; i = next++) {
      const { code, output } = await run('clang-tidy', ['--quiet', '-p', 'build/cmake', sources[i]], { quiet: true });
      if (code === 0) continue;
      failed = true;
      console.log(output.trimEnd());
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return { passed: failed ? 0 : 1, failed: failed ? 1 : 0, skipped: 0 };
}

/** The native tests once more, in a build folder of their own with sanitizers. */
async function sanitized(kinds) {
  const folder = join(root, 'build', `sanitize-${kinds.replace(',', '-')}`);
  mkdirSync(folder, { recursive: true });
  const options = [`-DGLEANER_SANITIZE=${kinds}`, '-DGLEANER_ADDON=OFF', '-DGLEANER_TESTS=ON', '-DGLEANER_WERROR=ON'];
  for (const args of [
    ['-S', root, '-B', folder, ...options],
    ['--build', folder, '--parallel', String(jobs)],
  ]) {
    const { code, output } = await run('cmake', args, { quiet: true });
    if (code !== 0) throw new SetupError(output.trimEnd());
  }
  return nativeTests(join(folder, 'tests'), chooseTests([]).native);
}

await stage('set-up and build, warnings as errors', async () => {
  await setUp({ tests: true, compiled: false });
  return { passed: 1, failed: 0, skipped: 0 };
});
if (sum.failed === 0 || existsSync(join(root, 'node_modules'))) {
  await node('biome', npmBin('@biomejs/biome/bin/biome'), 'ci', '--colors=off', '--error-on-warnings', '.');
  await node('clang-format', 'scripts/clang_format.mjs', '--check');
  await node('types', npmBin('typescript/bin/tsc'), '--noEmit');
  await node('types of the report’s page', npmBin('typescript/bin/tsc'), '--noEmit', '-p', 'src/report/page');
  await stage('clang-tidy', clangTidy);
  chromium();
  await stage('npm test', () => runTests(chooseTests([])));
  await node('publint', npmBin('publint/src/cli.js'), '--strict');
  await stage('native tests under address and undefined-behaviour sanitizers', () => sanitized('address,undefined'));
  await stage('native tests under the thread sanitizer', () => sanitized('thread'));
  const slow = chooseTests([], { slow: true });
  if (slow.typescript.length > 0) await stage('slow tests', () => runTests(slow));
  if (existsSync(join(root, 'examples/quickstart/run.ts'))) await node('quickstart', 'scripts/run.mjs', 'quickstart');
}
console.log(failures.length > 0 ? `\nnot green: ${failures.join('; ')}\n` : '');
console.log(lastLine(sum));
process.exitCode = sum.failed > 0 ? 1 : 0;
