// Rows to ids in worker threads, in the order of the rows. So many tasks are under way that no worker waits, and no more: memory does not
// depend on how fast the rows come.

import { Piscina } from 'piscina';
import { GleanerError, isErrorCode } from '../../common/errors.js';
import { packageFile } from '../../common/package_file.js';
import { throwIfAborted } from '../aborted.js';
import type { Message, Row } from '../rows.js';
import type { TaskFailure, TokenizedTask, WorkerSetup } from './task.js';

/** Rows and characters of a task: enough that handing it over costs nothing, few enough that all workers end together. */
const TASK_ROWS = 256;
const TASK_CHARACTERS = 2 ** 18;

export interface DoneTask {
  rows: readonly Row[];
  tokenized: TokenizedTask;
}

export class TokenizePool implements AsyncDisposable {
  readonly #pool: Piscina<readonly Row[], TokenizedTask | TaskFailure>;

  constructor(
    setup: WorkerSetup,
    private readonly workers: number,
  ) {
    const own = import.meta.url.endsWith('.ts');
    this.#pool = new Piscina({
      filename: packageFile(own ? 'src/data/import/worker.ts' : 'dist/data/import/worker.js').href,
      name: 'tokenize',
      workerData: setup,
      minThreads: workers,
      maxThreads: workers,
      // From the sources a worker needs tsx, which Node 20 does not hand on to it.
      ...(own && { execArgv: ['--import', registerTsx()] }),
    });
  }

  /** `rows` may throw: what came before it is still given out. */
  async *tokenize(rows: AsyncIterable<Row>, signal: AbortSignal | undefined): AsyncGenerator<DoneTask> {
    const tasks = tasksOf(rows);
    const underWay: { rows: Row[]; result: Promise<TokenizedTask | TaskFailure> }[] = [];
    try {
      for (let left = true; left || underWay.length > 0; ) {
        while (left && underWay.length < 2 * this.workers + 1) {
          const { done, value } = await tasks.next();
          if (done) left = false;
          else underWay.push({ rows: value, result: this.#run(value) });
        }
        const next = underWay.shift();
        if (next === undefined) break;
        const tokenized = await next.result;
        throwIfAborted(signal);
        if ('failure' in tokenized) throw errorOf(tokenized);
        yield { rows: next.rows, tokenized };
      }
    } finally {
      await tasks.return(undefined);
    }
  }

  #run(rows: Row[]): Promise<TokenizedTask | TaskFailure> {
    const result = this.#pool.run(rows);
    result.catch(() => {}); // seen when its turn comes, or not at all after another one failed
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy();
  }
}

async function* tasksOf(rows: AsyncIterable<Row>): AsyncGenerator<Row[], undefined> {
  let task: Row[] = [];
  let characters = 0;
  for await (const row of rows) {
    task.push(row);
    characters += charactersOf(row);
    if (task.length < TASK_ROWS && characters < TASK_CHARACTERS) continue;
    yield task;
    task = [];
    characters = 0;
  }
  if (task.length > 0) yield task;
  return undefined;
}

function charactersOf(row: Row): number {
  switch (row.kind) {
    case 'prompt_response':
      return row.prompt.length + row.response.length;
    case 'messages':
      return contents(row.messages);
    case 'preference':
      return row.chosen.length + ('prompt' in row ? row.prompt.length : contents(row.messages));
    case 'text':
      return row.text.length;
    case 'ids':
      return row.prompt_ids.length + row.response_ids.length;
    case 'prompt':
      return row.prompt.length;
    default:
      return row satisfies never;
  }
}

function contents(messages: readonly Message[]): number {
  return messages.reduce((sum, { content }) => sum + content.length, 0);
}

function errorOf({ failure: { code, message, hint } }: TaskFailure): GleanerError {
  return new GleanerError(isErrorCode(code) ? code : 'ERR_GLEANER_INTERNAL', message, hint);
}

function registerTsx(): string {
  const script = `import { register } from ${JSON.stringify(import.meta.resolve('tsx/esm/api'))}; register();`;
  return `data:text/javascript,${encodeURIComponent(script)}`;
}
