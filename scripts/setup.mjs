// Makes a fresh clone ready: npm packages, compiler and CMake, the addon, dist/. Each step looks first whether it is needed, by content and
// not by time, so a second call costs a fraction of a second. `node scripts/setup.mjs` does all of it and nothing else.
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { bundle } from './bundle.mjs';
import { debianPackages } from './debian.mjs';
import { ask, jobs, npmBin, root, run, SetupError, say } from './tools.mjs';

const stampPath = join(root, 'build/setup.json');

/** Every file under the given paths, sorted: what a step reads. */
function* filesUnder(paths) {
  for (const path of paths) {
    const full = join(root, path);
    if (!existsSync(full)) continue;
    if (statSync(full).isFile()) yield path;
    else
      yield* filesUnder(
        readdirSync(full)
          .sort()
          .map((name) => join(path, name)),
      );
  }
}

function digest(paths, more = '') {
  const hash = createHash('sha256').update(more);
  for (const path of filesUnder(paths)) hash.update(`\0${path}\0`).update(readFileSync(join(root, path)));
  return hash.digest('hex');
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch {
    return undefined; // missing or cut off: the step that wrote it runs again
  }
}

const stampOf = (step) => readJson(stampPath)?.[step];
function setStamp(step, value) {
  mkdirSync(join(root, 'build'), { recursive: true });
  writeFileSync(stampPath, `${JSON.stringify({ ...readJson(stampPath), [step]: value }, null, 2)}\n`);
}

/** node_modules holds what the lock says, whoever installed it. Optional packages are those of other machines. */
function packagesInstalled() {
  const wanted = readJson(join(root, 'package-lock.json'))?.packages;
  const found = readJson(join(root, 'node_modules/.package-lock.json'))?.packages;
  if (wanted === undefined)
    throw new SetupError('package-lock.json is missing or damaged: git checkout package-lock.json');
  if (found === undefined) return false;
  return Object.entries(wanted).every(
    ([path, { version, optional }]) =>
      path === '' || found[path]?.version === version || (optional && !(path in found)),
  );
}

async function npmPackages() {
  if (packagesInstalled()) return;
  say('gleaner set-up: npm packages');
  // Scripts stay off: the addon is built below, where a missing compiler gets a clear answer.
  const { code } = await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  if (code !== 0) throw new SetupError('npm ci failed: its message stands above');
}

/** CMake's memory of another place or generator makes it refuse; then it starts afresh. */
function dropForeignCache(folder) {
  const cache = join(folder, 'CMakeCache.txt');
  if (!existsSync(cache)) return;
  const text = readFileSync(cache, 'utf8');
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(text)?.[1];
  const generator = /^CMAKE_GENERATOR:INTERNAL=(.*)$/m.exec(text)?.[1];
  const ninja = ask('ninja', ['--version']) !== undefined;
  const moved = home === undefined || !existsSync(home) || realpathSync(home) !== realpathSync(root);
  if (moved || (generator === 'Ninja') !== ninja) rmSync(folder, { recursive: true });
}

const nativeOptions = () => [`GLEANER_WERROR=${process.env.GLEANER_WERROR ? 'ON' : 'OFF'}`];

function nativeDigest(tests) {
  const compiler = [process.env.CXX, process.env.CXXFLAGS, process.versions.modules].join(' ');
  const sources = ['native', 'cmake', 'CMakeLists.txt', 'package-lock.json', ...(tests ? ['test/native'] : [])];
  return digest(sources, nativeOptions().join(' ') + compiler);
}

async function native({ tests }) {
  const step = tests ? 'native and its tests' : 'native';
  const wanted = nativeDigest(tests);
  const addonAlone = nativeDigest(false); // now: what is edited while it compiles is not in it
  const built = join(root, 'build/Release/gleaner.node');
  if (stampOf(step) === wanted && existsSync(built) && (!tests || existsSync(join(root, 'build/tests')))) return;
  debianPackages({ tests });
  say(`gleaner set-up: building the native engine${tests ? ' and its tests' : ''}, about a minute the first time`);
  const folder = join(root, 'build/cmake');
  dropForeignCache(folder);
  const options = [...nativeOptions(), ...(tests ? ['GLEANER_TESTS=ON'] : [])].map((option) => `--CD${option}`);
  const configure = ['configure', '--out', 'build/cmake', '--log-level', 'warn', ...options];
  const configured = await run(process.execPath, [npmBin('cmake-js/bin/cmake-js'), ...configure], { quiet: true });
  if (configured.code !== 0)
    throw new SetupError(`CMake could not configure the build:\n${configured.output.trimEnd()}`);
  const target = tests ? 'all' : 'gleaner';
  const made = await run('cmake', ['--build', folder, '--target', target, '--parallel', String(jobs)], { quiet: true });
  if (made.code !== 0) throw new SetupError(`the native build failed:\n${made.output.trimEnd()}`);
  if (/\bwarning:/.test(made.output)) say(made.output.trimEnd());
  if (!existsSync(built)) throw new SetupError(`the build left no ${built}:\n${configured.output.trimEnd()}`);
  setStamp(step, wanted);
  if (tests) setStamp('native', addonAlone); // `all` made the addon too
}

async function dist() {
  const wanted = digest(['src', 'scripts/bundle.mjs', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json']);
  if (stampOf('dist') === wanted && existsSync(join(root, 'dist'))) return;
  say('gleaner set-up: compiling and bundling src to dist');
  rmSync(join(root, 'dist'), { recursive: true, force: true });
  await bundle();
  setStamp('dist', wanted);
}

/** One set-up at a time in a clone: two would write the same build folder. The lock of a process that died does not count. */
async function locked(work) {
  const lock = join(root, 'build/setup.lock');
  mkdirSync(join(root, 'build'), { recursive: true });
  for (let waited = false; ; ) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
      const owner = Number(existsSync(lock) ? readFileSync(lock, 'utf8') : 0);
      if (owner > 0 && !alive(owner)) rmSync(lock, { force: true });
      else {
        if (!waited) say(`gleaner set-up: waiting for another one (process ${owner || 'unknown'}) to finish`);
        waited = true;
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    }
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** What the caller needs: `tests` the native tests beside the addon, `compiled` dist/. */
export function setUp({ addon = true, tests = false, compiled = true } = {}) {
  if (Number(process.versions.node.split('.')[0]) < 20)
    throw new SetupError(`gleaner needs Node 20 or newer, this is ${process.version}`);
  return locked(async () => {
    await npmPackages();
    if (addon || tests) await native({ tests });
    if (compiled) await dist();
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  try {
    await setUp({ tests: process.argv.includes('--tests') });
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}
