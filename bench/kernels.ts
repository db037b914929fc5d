// Gleaner's side of the cases that time one kernel: bench/native, linked with the engine's own libraries and built when first asked for.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import { engineInfo } from '../src/engine/engine.js';
import type { Answer, Ours } from './case.js';
import { LineProcess } from './line_process.js';

const run = promisify(execFile);
const answered = z.object({
  seconds: z.number(),
  cpu_seconds: z.number(),
  total: z.number(),
  samples: z.array(z.number()),
});

let built: Promise<string> | undefined;

/** The binary; the build folder is the repository's own, so that a second run builds nothing. */
function binary(): Promise<string> {
  built ??= (async () => {
    const source = fileURLToPath(new URL('native', import.meta.url));
    const folder = fileURLToPath(new URL('../build/bench', import.meta.url));
    await run('cmake', ['-S', source, '-B', folder, '-DCMAKE_BUILD_TYPE=Release']);
    await run('cmake', ['--build', folder, '--parallel', '2', '--target', 'gleaner_kernels'], { maxBuffer: 2 ** 26 });
    return `${folder}/gleaner_kernels`;
  })();
  return built;
}

export interface Kernel {
  kind: 'forward' | 'dx' | 'dweight' | 'attention' | 'head' | 'head_split';
  sizes: readonly number[];
  /** Of one execution. */
  flops: number;
  tokens: number;
}

/** A round is so many executions that the clock sees at least about this. */
const ROUND_FLOPS = 1e10;

export async function openKernel({ kind, sizes, flops, tokens }: Kernel, threads: number): Promise<Ours> {
  const repeats = Math.max(1, Math.round(ROUND_FLOPS / flops));
  const args = [threads, engineInfo().isa, kind, ...sizes, repeats].map(String);
  const process = new LineProcess("the kernel's process", await binary(), args);
  await process.ask();
  return {
    peerLoad: { model: '', threads, settings: { kernel: kind, sizes, repeats } },
    peerRows: () => [],
    work: () => ({ tokens: tokens * repeats, flops: flops * repeats }),
    run: async (): Promise<Answer> => {
      const { total, samples, ...times } = answered.parse(await process.ask('step'));
      return { ...times, checks: { total, samples }, tokens: tokens * repeats };
    },
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}
