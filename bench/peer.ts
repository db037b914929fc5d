// A peer: one process that lives through a case's rounds and answers JSON lines. Nothing of ours runs in its clock, and it sleeps on the pipe
// while others work.

import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import type { Answer, PeerLoad, PeerSpec } from './case.js';
import { LineProcess } from './line_process.js';

const failure = z.object({ error: z.string() });
const loaded = z.object({ versions: z.record(z.string(), z.string()) });
const memory = z.object({ peak_rss_bytes: z.number() });
const stepped = z.object({
  seconds: z.number(),
  cpu_seconds: z.number(),
  checks: z.record(z.string(), z.union([z.number(), z.array(z.number())])),
  tokens: z.number(),
});

/** What measure() needs of one. */
export interface Side extends AsyncDisposable {
  run(rows: unknown): Promise<Answer>;
}

export class Peer implements Side {
  readonly #process: LineProcess;

  private constructor(command: string, args: readonly string[], threads: number) {
    this.#process = new LineProcess('the peer', command, args, {
      OMP_NUM_THREADS: String(threads),
      // No spinning at barriers: as fast on a quiet machine, twice as fast on a busy one.
      OMP_WAIT_POLICY: 'passive',
      HF_HUB_OFFLINE: '1',
      TOKENIZERS_PARALLELISM: 'false',
    });
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

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process[Symbol.asyncDispose]();
  }

  async #ask(request: object): Promise<unknown> {
    const answer = await this.#process.ask(JSON.stringify(request));
    const { data } = failure.safeParse(answer);
    if (data) throw new Error(`the peer failed: ${data.error}`);
    return answer;
  }
}
