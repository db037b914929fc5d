// --setup-peers: a Python environment and a node folder with everything that the peers need, in the user's cache, found by later runs.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The versions that the documented figures are of. */
const PYTHON_PACKAGES = [
  'numpy==2.4.6',
  'transformers==5.18.0',
  'tokenizers==0.23.2',
  'accelerate==1.15.0',
  'datasets==5.0.1',
  'trl==1.13.0',
  'gguf',
  'lm_eval',
] as const;
const TORCH = '2.13.0';
const NODE_PACKAGES = ['node-llama-cpp'] as const;

function folder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'gleaner-bench');
}

/** What an earlier --setup-peers left. modules: where node peers resolve their packages from. */
export function peersFolder(): { python: string | undefined; modules: string } {
  const python = join(folder(), 'python', 'bin', 'python');
  return {
    python: existsSync(python) ? python : undefined,
    modules: process.env.GLEANER_BENCH_MODULES ?? join(folder(), 'node'),
  };
}

/** False when torch and transformers, without which there is no peer at all, are not there. */
export async function setUpPeers(say: (text: string) => void): Promise<boolean> {
  const home = folder();
  await mkdir(join(home, 'node'), { recursive: true });
  const failed: string[] = [];
  const attempt = async (what: string, command: string, args: readonly string[], cwd = home) => {
    say(`${what} …`);
    const problem = await run(command, args, cwd);
    if (problem !== undefined) say(`${what}: failed: ${problem}`);
    return problem === undefined;
  };
  const python = join(home, 'python', 'bin', 'python');
  if (!existsSync(python) && !(await attempt('a Python environment', 'python3', ['-m', 'venv', join(home, 'python')])))
    return false;
  const pip = ['-m', 'pip', 'install', '--disable-pip-version-check', '--quiet'];
  // A build without CUDA is a tenth of the size: PIP_EXTRA_INDEX_URL may name an index that has it.
  const torch = await attempt(`torch ${TORCH}`, python, [...pip, `torch==${TORCH}`]);
  if (!torch) failed.push('torch');
  for (const one of PYTHON_PACKAGES)
    if (!(await attempt(one, python, [...pip, one]))) failed.push(one.replace(/==.*/, ''));
  await writeFile(join(home, 'node', 'package.json'), '{ "private": true }\n');
  for (const one of NODE_PACKAGES) {
    if (!(await attempt(one, 'npm', ['install', '--no-audit', '--no-fund', one], join(home, 'node')))) failed.push(one);
  }
  say(
    failed.length === 0
      ? `Everything is in ${home}`
      : `In ${home}; missing: ${failed.join(', ')}: their cases print no ratio`,
  );
  return !failed.some((name) => name === 'torch' || name === 'transformers');
}

/** undefined, or the last thing that it said. */
function run(command: string, args: readonly string[], cwd: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    let said = '';
    const child = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-4000);
      });
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code) =>
      resolve(code === 0 ? undefined : (said.trim().split('\n').at(-1) ?? '') || `exit code ${code}`),
    );
  });
}
