// Engines in worker threads and at the end of processes: several at once, and cut off amid their work. A crash would take the test with it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Told } from '../support/engine_worker.js';
import { withGolden } from '../support/engines.js';
import { suite } from '../support/suite.js';

const script = new URL('../support/engine_worker.ts', import.meta.url);
// Node 20 does not hand tsx on to a worker: it is registered there.
const boot = `import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))}).then(({ register }) => {
  register();
  return import(${JSON.stringify(script.href)});
})`;
const start = (order: string) => new Worker(boot, { eval: true, workerData: { order } });

async function told(worker: Worker): Promise<Told> {
  const [message] = await once(worker, 'message');
  return message;
}

/** Runs the script as a process of its own. */
async function run(order: string): Promise<{ code: number | null; signal: string | null; output: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(script), order], { stdio: 'pipe' });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk));
  const [code, signal] = await once(child, 'close');
  return { code, signal, output };
}

suite('worker threads', (test) => {
  test('several engines at once, each in its thread, compute the same', async () => {
    const workers = [start('once'), start('once'), start('once')];
    const exits = workers.map((worker) => once(worker, 'exit'));
    const [first, ...others] = await Promise.all(workers.map(told));
    assert.ok(first && first.response_ids.length === 40 && first.loss > 1);
    for (const other of others) assert.deepEqual(other, first);
    for (const [code] of await Promise.all(exits)) assert.equal(code, 0);
  });

  test('terminated amid their work: no crash, and other threads go on', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      const workers = [start('work'), start('work'), start('work')];
      await Promise.all(workers.map((worker) => once(worker, 'message')));
      for (const [i, worker] of workers.entries()) {
        await new Promise((resolve) => setTimeout(resolve, 10 * i));
        await worker.terminate();
        assert.equal((await engine.logits([3, 4])).length, 2);
      }
    }));
});

suite('the end of a process', (test) => {
  test('process.exit amid work keeps its exit code', async () => {
    const { code, signal } = await run('exit');
    assert.deepEqual([code, signal], [7, null]);
  });

  test('an error that nobody catches amid work ends with code 1', async () => {
    const { code, signal, output } = await run('throw');
    assert.deepEqual([code, signal], [1, null]);
    assert.ok(output.includes('unhandled'));
  });

  test('an engine that was not closed does not keep the process alive', async () => {
    assert.deepEqual(await run('dropped'), { code: 0, signal: null, output: 'idle' });
  });
});
