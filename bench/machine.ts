// The machine beside the figures: who it is, what else ran on it, and how many multiply-adds a second it reaches while we measure.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Busy CPU seconds of the whole machine since it started; undefined where the system does not say. */
function busySeconds(): number | undefined {
  try {
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] =
      readFileSync('/proc/stat', 'utf8').split('\n')[0]?.split(/\s+/).slice(1).map(Number) ?? [];
    return (user + nice + system + irq + softirq + steal) / 100;
  } catch {
    return undefined;
  }
}

/** Runs work; `foreign` is the share of the machine that others used meanwhile. */
export async function watched<T extends { seconds: number; cpu_seconds: number }>(
  work: () => Promise<T>,
): Promise<T & { foreign: number | undefined }> {
  const before = busySeconds();
  const start = performance.now();
  const result = await work();
  const wall = (performance.now() - start) / 1e3;
  const after = busySeconds();
  if (before === undefined || after === undefined) return { ...result, foreign: undefined };
  return { ...result, foreign: Math.max(0, (after - before - result.cpu_seconds) / (wall * cpus().length)) };
}

/** Builds peak.cc; the answer measures fp32 GFLOP/s for some tenths of a second. undefined: no compiler, or not this machine. */
export async function buildPeak(
  folder: string,
): Promise<((isa: string, threads: number) => Promise<number>) | undefined> {
  const binary = join(folder, 'peak');
  try {
    await run('c++', [
      '-O2',
      '-std=c++20',
      '-pthread',
      '-o',
      binary,
      fileURLToPath(new URL('peak.cc', import.meta.url)),
    ]);
    const measure = async (isa: string, threads: number) => Number((await run(binary, [isa, String(threads)])).stdout);
    await measure('avx2', 1);
    return measure;
  } catch {
    return undefined;
  }
}

export async function commit(): Promise<string> {
  const cwd = fileURLToPath(new URL('..', import.meta.url));
  try {
    const { stdout } = await run('git', ['rev-parse', '--short=12', 'HEAD'], { cwd });
    const { stdout: changes } = await run('git', ['status', '--porcelain', '--', 'src', 'native', 'bench'], { cwd });
    return stdout.trim() + (changes.trim() === '' ? '' : ' with changes');
  } catch {
    return 'unknown';
  }
}
