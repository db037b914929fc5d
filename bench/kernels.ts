// Gleaner's side of the cases that time one kernel: bench/native, linked with the engine's own libraries and built when first asked for.

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import { engineInfo } from '../src/engine/engine.js';
import type { Answer, Ours } from './case.js';

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
  const process = new KernelProcess(await binary(), [threads, engineInfo().isa, kind, ...sizes, repeats].map(String));
  await process.ask();
  return {
    peerLoad: { model: '', threads, settings: { kernel: kind, sizes, repeats } },
    peerRows: () => [],
    work: () => ({ tokens: tokens * repeats, flops: flops * repeats }),
    run: async (): Promise<Answer> => {
      const { total, samples, ...times } = answered.parse(await process.ask('step'));
      return { ...times, checks: { total, samples }, tokens: tokens * repeats };
    },
    [Symbol.asyncDispose]: () => process.end(),
  };
}

class KernelProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<void>;
  #said = '';

  constructor(path: string, args: readonly string[]) {
    const child = spawn(path, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    this.#closed = new Promise((resolve) => {
      child.once('close', () => resolve());
      child.once('error', () => resolve());
    });
    child.stdin.on('error', () => {});
    child.stderr.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString();
    });
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** The next line; without a request, the one that it says when it is ready. */
  async ask(request?: string): Promise<unknown> {
    if (request !== undefined) this.#child.stdin?.write(`${request}\n`);
    const { value, done } = await this.#lines.next();
    if (done !== true) return JSON.parse(value);
    await this.#closed;
    throw new Error(`the kernel's process ended: ${this.#said.trim() || 'it said nothing'}`);
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    await this.#closed;
  }
}
