// A peer: one process that lives through a case's rounds and answers JSON lines. Nothing of ours runs in its clock, and it sleeps on the pipe
// while others work.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Answer, PeerLoad, PeerSpec } from './case.js';

const failure = z.object({ error: z.string() });
const loaded = z.object({ versions: z.record(z.string(), z.string()) });
const memory = z.object({ peak_rss_bytes: z.number() });
const stepped = z.object({
  seconds: z.number(),
  cpu_seconds: z.number(),
  checks: z.record(z.string(), z.union([z.number(), z.array(z.number())])),
  tokens: z.number(),
});

/** The slowest answer is a first compiled step: minutes. A peer that hangs must not hold the whole run. */
const ANSWER_TIMEOUT_MS = 15 * 60 * 1000;

/** What measure() needs of one. */
export interface Side extends AsyncDisposable {
  run(rows: unknown): Promise<Answer>;
}

export class Peer implements Side {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<void>;
  #said = '';

  private constructor(command: string, args: readonly string[], threads: number) {
    const child = spawn(command, args, {
      env: {
        ...process.env,
        OMP_NUM_THREADS: String(threads),
        // No spinning at barriers: as fast on a quiet machine, twice as fast on a busy one.
        OMP_WAIT_POLICY: 'passive',
        HF_HUB_OFFLINE: '1',
        TOKENIZERS_PARALLELISM: 'false',
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    this.#closed = new Promise((resolve) => {
      child.once('close', resolve);
      child.once('error', (error) => {
        this.#said = error.message;
        resolve();
      });
    });
    child.stdin.on('error', () => {}); // a peer that died is noticed where its answer is missing
    child.stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-2000);
    });
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts and loads; versions is what the peer says of itself. Throws when it cannot. */
  static async start(
    spec: PeerSpec,
    python: string | undefined,
    load: PeerLoad,
  ): Promise<{ peer: Peer; versions: Record<string, string> }> {
    const script = fileURLToPath(new URL(`peers/${spec.script}`, import.meta.url));
    if (spec.runtime === 'python' && python === undefined) throw new Error('no --python');
    const peer =
      spec.runtime === 'python'
        ? new Peer(python ?? '', ['-B', script], load.threads)
        : new Peer(process.execPath, ['--import', 'tsx', script], load.threads);
    try {
      const settings = { ...load.settings, ...spec.settings };
      const { versions } = loaded.parse(await peer.#ask({ do: 'load', ...load, settings }));
      return { peer, versions };
    } catch (error) {
      await peer[Symbol.asyncDispose]();
      throw error;
    }
  }

  async run(rows: unknown): Promise<Answer> {
    return stepped.parse(await this.#ask({ do: 'step', rows }));
  }

  /** The most memory that its process ever held. */
  async peakMemory(): Promise<number> {
    return memory.parse(await this.#ask({ do: 'memory' })).peak_rss_bytes;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#closed;
  }

  async #ask(request: object): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    const limit = setTimeout(() => {
      this.#said += '\nno answer in 15 minutes';
      this.#child.kill('SIGKILL');
    }, ANSWER_TIMEOUT_MS);
    const { value, done } = await this.#lines.next().finally(() => clearTimeout(limit));
    if (done === true) {
      await this.#closed;
      throw new Error(`the peer ended: ${this.#said.trim().split('\n').slice(-3).join(' | ') || 'it said nothing'}`);
    }
    const answer: unknown = JSON.parse(value);
    const { data } = failure.safeParse(answer);
    if (data) throw new Error(`the peer failed: ${data.error}`);
    return answer;
  }
}
