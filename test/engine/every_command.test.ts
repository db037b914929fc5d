// Every command of the engine is asked the same questions: what when the engine is closed or closing, when it is called from a callback, in
// another thread, beside any other, with numbers that are none, with nothing, with too much, when it breaks off half-way? The answer is a
// result or an error with a code, and the engine computes afterwards what it computed before.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Engine } from '../../src/engine/engine.js';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';
import {
  commands,
  digest,
  outcome,
  preparedEngines,
  probe,
  prompts,
  restored,
  rows,
  sampling,
  step,
} from './commands.js';

const ABORT = 'ABORT_ERR';
const BUSY = 'ERR_GLEANER_BUSY';
const CLOSED = 'ERR_GLEANER_CLOSED';
const _DATA = 'ERR_GLEANER_DATA';
const _USAGE = 'ERR_GLEANER_USAGE';
const isError = (found: string) => found === ABORT || found.startsWith('ERR_');

const { folder, withPrepared, assertRight } = preparedEngines(temporaryFolder());
const entries = [...commands];
const names = [...commands.keys()];

suite('every command', (test) => {
  test('there is no other', () => {
    const methods = Object.getOwnPropertyNames(Engine.prototype).filter(
      (name) => !['constructor', 'spec', 'close'].includes(name),
    );
    assert.deepEqual(
      methods.filter((name) => !names.includes(name)),
      [],
    );
  });

  test('alone: a result', () =>
    withPrepared(async (engine) => {
      for (const [name, work] of entries) {
        assert.ok(!isError(await outcome(name, () => work(engine, folder))), name);
        await assertRight(engine, name);
      }
    }));

  test('after close: ERR_GLEANER_CLOSED, and closing again is fine', () =>
    withPrepared(async (engine) => {
      await engine.close();
      for (const [name, work] of entries) assert.equal(await outcome(name, () => work(engine, folder)), CLOSED, name);
      await engine.close();
      await engine[Symbol.asyncDispose]();
    }));

  for (const [name, work] of entries) {
    test(`${name}, while closing: all promises settle`, async () => {
      for (const turns of [0, 1, 3]) {
        await withPrepared(async (engine) => {
          const before = [outcome(name, () => work(engine, folder)), outcome(name, () => work(engine, folder))];
          for (let i = 0; i < turns; ++i) await new Promise((resolve) => setImmediate(resolve));
          const closing = Promise.all([engine.close(), engine.close()]);
          const late = outcome(name, () => work(engine, folder));
          // What was refused at once (a second update) was so for its own reason.
          for (const found of await Promise.all(before))
            assert.ok(!isError(found) || [ABORT, CLOSED, BUSY].includes(found), `${name}: ${found}`);
          assert.ok([CLOSED, BUSY].includes(await late), `${name}: ${await late}`);
          await closing;
        });
      }
    });
  }

  const hosts: [string, (engine: Engine, inside: () => void) => Promise<unknown>][] = [
    [
      'onToken',
      (engine, inside) =>
        engine.generate(prompts, {
          ...sampling,
          onToken: ({ prompt, position }) => {
            if (prompt === 1 && position === 2) inside();
            return undefined;
          },
        }),
    ],
    [
      'an objective of the caller’s own',
      (engine, inside) => {
        let calls = 0;
        const compute = (_: unknown, logprobs: readonly Float32Array[]) => {
          if (++calls === 2) inside();
          return { loss: 1, dlogprobs: logprobs.map((values) => values.map(() => -1)) };
        };
        return engine.update({ objective: { name: 'custom', denominator: 'targets', compute }, rows }, step);
      },
    ],
    [
      'an abort listener',
      (engine, inside) => {
        const controller = new AbortController();
        controller.signal.addEventListener('abort', inside);
        const work = engine.generate(prompts, { ...sampling, signal: controller.signal });
        controller.abort();
        return work;
      },
    ],
    ['work with other weights', (engine, inside) => engine.withRoundWeights(async () => inside())],
  ];
  for (const [host, begin] of hosts) {
    test(`called from ${host}: a result or a refusal, and both calls end`, () =>
      withPrepared(async (engine) => {
        for (const [name, work] of entries) {
          await restored(engine, folder);
          let called: Promise<string> | undefined;
          const outer = await outcome(host, () =>
            begin(engine, () => {
              called ??= outcome(`${name} from ${host}`, () => work(engine, folder));
            }),
          );
          assert.ok(called, `${host} was not called`);
          const inner = await called;
          assert.equal(isError(outer), host === 'an abort listener', `${name} from ${host}: ${outer}`);
          assert.ok(!isError(inner) || inner === BUSY, `${name} from ${host}: ${inner}`);
          await assertRight(engine, `${name} from ${host}`);
        }
      }));

    test(`close called from ${host}: both end`, () =>
      withPrepared(async (engine) => {
        let closed: Promise<void> | undefined;
        const outer = await outcome(host, () =>
          begin(engine, () => {
            closed ??= engine.close();
          }),
        );
        // The last tokens may be told when the work is done.
        const ended = [ABORT, CLOSED].includes(outer) || (host === 'onToken' && !isError(outer));
        assert.ok(closed && ended, `${host}: ${outer}`);
        await closed;
      }));
  }

  for (const [first, begin] of entries) {
    test(`${first} beside each other command: as one after the other, or refused`, () =>
      withPrepared(async (engine) => {
        for (const [second, work] of entries) {
          const both = `${first} beside ${second}`;
          await restored(engine, folder);
          const apart = [
            await outcome(first, () => begin(engine, folder)),
            await outcome(second, () => work(engine, folder)),
          ];
          const state = digest(await engine.readTensors());
          await restored(engine, folder);
          const together = await Promise.all([
            outcome(first, () => begin(engine, folder)),
            outcome(second, () => work(engine, folder)),
          ]);
          // memory tells of buffers that the first call of all has made
          if (first !== 'memory') assert.equal(together[0], apart[0], both);
          if (second !== 'memory') assert.ok(together[1] === apart[1] || together[1] === BUSY, both);
          if (together[1] !== BUSY) assert.equal(digest(await engine.readTensors()), state, both);
        }
        await assertRight(engine, `${first} beside others`);
      }));
  }
});

suite('other threads', (test) => {
  const script = new URL('./command_worker.ts', import.meta.url);
  // Node 20 does not hand tsx on to a worker: it is registered there.
  const boot = `import(${JSON.stringify(import.meta.resolve('tsx/esm/api'))}).then(({ register }) => {
    register();
    return import(${JSON.stringify(script.href)});
  })`;

  test('every command in two worker threads at once, beside this one: the same results', async () => {
    const workers = [0, 1].map(() => new Worker(boot, { eval: true, workerData: { folder: temporaryFolder() } }));
    const told = workers.map((worker) => once(worker, 'message'));
    const own = await withPrepared(async (engine) => {
      const found: Record<string, string> = {};
      for (const [name, work] of entries) {
        await restored(engine, folder);
        if (name !== 'memory') found[name] = await outcome(name, () => work(engine, folder));
      }
      return { ...found, probe: digest(await probe(engine, folder)) };
    });
    for (const message of await Promise.all(told)) assert.deepEqual(message[0], own);
  });
});

suite('a disk that is full', (test) => {
  const script = fileURLToPath(new URL('./full_disk.ts', import.meta.url));

  test('every command that writes is ERR_GLEANER_DISK, the file of before stays, and the engine goes on', async () => {
    const place = temporaryFolder();
    const run = async (limit: string) => {
      const command = `${limit} exec "$0" --import tsx "$1" "$2"`;
      const child = spawn('bash', ['-c', command, process.execPath, script, place], { stdio: 'pipe' });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk));
      const [code] = await once(child, 'close');
      assert.equal(code, 0, output);
      return output;
    };
    assert.ok((await run('')).includes('save: done'));
    // Blocks of 1024 bytes: below any file of the engine, above what tsx keeps.
    const found = await run('ulimit -f 20;');
    for (const name of ['save', 'saveTrainingState', 'saveRoundWeights'])
      assert.ok(found.includes(`${name}: ERR_GLEANER_DISK`), found);
    assert.ok(found.includes('the same bytes') && found.includes('the same engine'), found);
  });
});
