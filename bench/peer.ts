// A peer: one Python process that lives through a case's rounds and answers JSON lines. Nothing of ours runs in its clock, and it sleeps on
// the pipe while gleaner works.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Answer, PeerLoad } from './case.js';

const failure = z.object({ error: z.string() });
const loaded = z.object({ versions: z.record(z.string(), z.string()) });
const stepped = z.object({
  seconds: z.number(),
  cpu_seconds: z.number(),
  loss: z.number(),
  grad_norm: z.number(),
  tokens: z.number(),
});

export class Peer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<void>;
  #said = '';

  private constructor(python: string, script: string, threads: number) {
    const path = fileURLToPath(new URL(`peers/${script}`, import.meta.url));
    const child = spawn(python, ['-B', path], {
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

  /** Starts and loads; versions is what the peer says of itself. Throws when Python, torch or the script fails. */
  static async start(
    python: string,
    script: string,
    load: PeerLoad,
  ): Promise<{ peer: Peer; versions: Record<string, string> }> {
    const peer = new Peer(python, script, load.threads);
    try {
      const { versions } = loaded.parse(await peer.#ask({ do: 'load', ...load }));
      return { peer, versions };
    } catch (error) {
      await peer[Symbol.asyncDispose]();
      throw error;
    }
  }

  async run(rows: readonly unknown[]): Promise<Answer> {
    const { loss, grad_norm, ...rest } = stepped.parse(await this.#ask({ do: 'step', rows }));
    return { ...rest, checks: { loss, grad_norm } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#closed;
  }

  async #ask(request: object): Promise<unknown> {
    this.#child.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#lines.next();
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
