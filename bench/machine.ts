// The machine beside the figures: who it is, what else ran on it, and what it reaches while we measure: multiply-adds, bytes read.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Limits } from './case.js';

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

/** `isa` is that of the path in use; what this machine cannot do is left out of the answer. */
export type MeasureLimits = (what: { flops: boolean; bytes: boolean }, threads: number) => Promise<Limits>;

/** Builds peak.cc; the answer measures for some tenths of a second. undefined: no compiler, or not this machine. */
export async function buildPeak(folder: string, isa: string): Promise<MeasureLimits | undefined> {
  const binary = join(folder, 'peak');
  const source = fileURLToPath(new URL('peak.cc', import.meta.url));
  try {
    await run('c++', ['-O2', '-std=c++20', '-pthread', '-o', binary, source]);
  } catch {
    return undefined;
  }
  const ask = async (mode: string, threads: number) => {
    try {
      return Number((await run(binary, [mode, String(threads)])).stdout);
    } catch {
      return undefined;
    }
  };
  const bf16 = (await ask('bf16', 1)) !== undefined;
  return async (what, threads) => {
    const gflops = what.flops ? await ask(isa, threads) : undefined;
    const bf16_gflops = what.flops && bf16 ? await ask('bf16', threads) : undefined;
    const read_gb_per_s = what.bytes ? await ask('read', threads) : undefined;
    return {
      ...(gflops === undefined ? {} : { gflops }),
      ...(bf16_gflops === undefined ? {} : { bf16_gflops }),
      ...(read_gb_per_s === undefined ? {} : { read_gb_per_s }),
    };
  };
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

/** What a reader may know of the machine: its processor, not its host name. */
export function processorName(): string {
  const processor = cpus()[0]?.model ?? 'unknown';
  return processor
    .toLowerCase()
    .replace(/\(.*?\)|processor|cpu|@.*/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 24);
}
