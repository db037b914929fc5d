// A process that is kept alive and answers a line of JSON for each line that it gets; it sleeps on its pipe in between.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** The slowest answer is a first compiled step: minutes. A process that hangs must not hold the whole run. */
const ANSWER_TIMEOUT_MS = 15 * 60 * 1000;

export class LineProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<void>;
  #said = '';

  /** `name` stands in the message when it ends by itself. */
  constructor(
    private readonly name: string,
    command: string,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ) {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child = child;
    this.#closed = new Promise((resolve) => {
      child.once('close', resolve);
      child.once('error', (error) => {
        this.#said = error.message;
        resolve();
      });
    });
    child.stdin.on('error', () => {}); // a process that died is noticed where its answer is missing
    child.stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString()).slice(-2000);
    });
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** The next answer; without a request, to what it says when it is ready. */
  async ask(request?: string): Promise<unknown> {
    if (request !== undefined) this.#child.stdin?.write(`${request}\n`);
    const limit = setTimeout(() => {
      this.#said += '\nno answer in 15 minutes';
      this.#child.kill('SIGKILL');
    }, ANSWER_TIMEOUT_MS);
    const { value, done } = await this.#lines.next().finally(() => clearTimeout(limit));
    if (done !== true) return JSON.parse(value);
    await this.#closed;
    throw new Error(`${this.name} ended: ${this.#said.trim().split('\n').slice(-3).join(' | ') || 'it said nothing'}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin?.end();
    await this.#closed;
  }
}
