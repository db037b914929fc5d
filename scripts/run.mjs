// Behind npm's commands: sets the clone up, then runs what was asked. `npm test` and `npm run quickstart` may be the first thing ever typed.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setUp } from './setup.mjs';
import { test } from './test.mjs';
import { root, run, SetupError, say } from './tools.mjs';

/** Runs a TypeScript file of the repository as the user's own command: its output and exit code are ours. */
async function script(path, args) {
  if (!existsSync(join(root, path)))
    throw new SetupError(`${path} is missing from this copy of gleaner: clone the repository to run it`);
  await setUp();
  const { code } = await run(process.execPath, ['--import', 'tsx', path, ...args], { stdout: 1 });
  return code;
}

const commands = {
  quickstart: (args) => script('examples/quickstart/run.ts', args),
  bench: (args) => script('bench/run.ts', args),
  soak: (args) => script('bench/soak.ts', args),
  test,
  async build() {
    await setUp();
    say('gleaner is built: build/Release/gleaner.node and dist/');
    return 0;
  },
};

const [name = '', ...args] = process.argv.slice(2);
try {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined)
    throw new SetupError(`usage: node scripts/run.mjs ${Object.keys(commands).join('|')} [arguments]`);
  process.exitCode = await command(args);
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  say(error.message);
  process.exitCode = 1;
}
