// What the scripts share: the root, a way to run a command, and one to say things. Plain Node, no packages: this runs before any is installed.
import { spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
/** Two even where there are more: each compiler or test file takes a core and up to a gigabyte. GLEANER_JOBS overrules. */
export const jobs = Math.max(1, Number(process.env.GLEANER_JOBS ?? Math.min(4, availableParallelism())) || 1);

export class SetupError extends Error {}
/** Something that the user has to install first: nothing else is tried. */
export class MissingPackages extends SetupError {}

export function say(text) {
  process.stderr.write(`${text}\n`);
}

/** Runs to the end with the terminal's own output, but on stderr: stdout belongs to what the user asked for. Gives back the exit code. */
export function run(command, args, { env, quiet = false, stdout = 2, cwd = root } = {}) {
  return new Promise((resolve) => {
    const stdio = quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', stdout, 2];
    const child = spawn(command, args, { cwd, stdio, env: { ...process.env, ...env } });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text) => (output += text));
    child.on('error', (error) => resolve({ code: 127, output: `${command}: ${error.message}` }));
    child.on('close', (code, signal) => resolve({ code: code ?? 128, signal, output }));
  });
}

/** The tool's answer when it can be run, undefined when not. */
export function ask(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return status === 0 ? stdout.trim() : undefined;
}

/** The path of a command that an npm package brought, to be run by node. */
export const npmBin = (path) => `${root}node_modules/${path}`;
