// The tools that npm does not bring: a C++20 compiler, CMake, make or ninja, and doctest for the native tests. What is missing is installed
// where that is allowed (root, or sudo that asks nothing), and said; elsewhere the exact command is printed. CI looks at pages in Chromium.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { ask, MissingPackages, say } from './tools.mjs';

const has = (command) => ask(command, ['--version']) !== undefined;
const includeFolders = [
  '/usr/include',
  '/usr/local/include',
  ...(process.env.CPLUS_INCLUDE_PATH ?? '').split(':').filter(Boolean),
];

function missing({ tests }) {
  const packages = [];
  if (!has(process.env.CXX ?? 'c++') || !has(process.env.CC ?? 'cc')) packages.push('g++');
  if (!has('cmake')) packages.push('cmake');
  if (!has('make') && !has('ninja')) packages.push('make');
  if (tests && !includeFolders.some((folder) => existsSync(`${folder}/doctest/doctest.h`)))
    packages.push('doctest-dev');
  return packages;
}

/** What is before apt-get: nothing for root, sudo where it asks no password, undefined where neither may install. */
function rights() {
  if (process.getuid?.() === 0) return [];
  return ask('sudo', ['-n', 'true']) === undefined ? undefined : ['sudo', '-n'];
}

/** Throws MissingPackages, with what to type, when they cannot be installed from here; `optional` ones give false instead. */
export function debianPackages(needs, { required = missing(needs), optional = false } = {}) {
  if (required.length === 0) return true;
  const command = `apt-get install -y --no-install-recommends ${required.join(' ')}`;
  const before = has('apt-get') ? rights() : undefined;
  if (before === undefined) {
    if (optional) return false;
    throw new MissingPackages(
      `gleaner needs ${required.join(', ')}, which this machine lacks and this user may not install. As root, run:\n\n  apt-get update && ${command}\n\n` +
        '(or the same packages of another system: a C++20 compiler, CMake 3.21 or newer, make or ninja, the header doctest/doctest.h), then try again.',
    );
  }
  say(`gleaner set-up: installing Debian packages: ${[...before, command].join(' ')}`);
  const apt = (...args) => {
    const [first, ...rest] = [...before, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
    return spawnSync(first, rest, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  };
  const install = ['install', '-y', '--no-install-recommends', ...required];
  let result = apt(...install);
  if (result.status !== 0) {
    apt('update'); // a fresh machine has no package lists, or old ones
    result = apt(...install);
  }
  if (result.status === 0) return true;
  if (optional) return false;
  throw new MissingPackages(`${command} failed:\n${result.stderr?.trim() || result.stdout?.trim()}`);
}

/** A browser for the tests of pages, as test/support/browser.ts finds it. False: there is none, and none may be installed. */
export function chromium() {
  const names = [process.env.GLEANER_CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome'];
  if (names.some((name) => name && has(name))) return true;
  return debianPackages({}, { required: ['chromium'], optional: true });
}
