// Who sees which weights when commands meet: each computes with one set of weights, the one that its caller knows of, or is refused.

import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from '../../src/engine/engine.js';
import { Gate } from '../../src/engine/gate.js';
import type { GenerateOptions, ScoredRow, UpdateBatch } from '../../src/engine/types.js';
import { goldenModel } from '../golden/golden.js';
import { assertSameBits, trainingOptions, withGolden } from '../support/engines.js';
import { demonstrations } from '../support/pairs.js';
import { assertRejects, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const BUSY = 'ERR_GLEANER_BUSY';
const rows = demonstrations(24);
const sft: UpdateBatch = { objective: { name: 'sft' }, rows };
const step = { learning_rate: 1e-2, max_grad_norm: 1 };
const prompts = rows.slice(0, 4).map(({ prompt_ids }, sample_id) => ({ prompt_ids, sample_id }));
const sampling: GenerateOptions = {
  max_new_tokens: 12,
  temperature: 1,
  top_p: 1,
  top_k: 0,
  seed: 1,
  eos_token_ids: [],
};

/** Trained a little, a round marked, trained on: three sets of weights. Scores take many commands each. */
const withThree = (
  work: (engine: Engine, scores: Record<'initial' | 'round' | 'today', ScoredRow[]>) => Promise<void>,
): Promise<void> =>
  withGolden('llama-gqa', {}, async (engine) => {
    await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 32 });
    const initial = await engine.score(rows);
    await engine.update(sft, step);
    await engine.markRound();
    const round = await engine.score(rows);
    await engine.update(sft, step);
    const today = await engine.score(rows);
    await work(engine, { initial, round, today });
    assert.deepEqual(await engine.score(rows), today);
    assert.equal((await engine.update(sft, step)).skipped, false);
  });

suite('other weights', (test) => {
  const passes = [
    ['initial', 'withInitialWeights'],
    ['round', 'withRoundWeights'],
  ] as const;
  for (const [name, command] of passes) {
    test(`${command}: commands of others are refused from the call to the end, whatever they are`, () =>
      withThree(async (engine, scores) => {
        const path = temporaryFolder();
        const others: Record<string, () => Promise<unknown>> = {
          score: () => engine.score(rows),
          generate: () => engine.generate(prompts, sampling),
          logits: () => engine.logits([3]),
          readTensors: () => engine.readTensors(),
          save: () => engine.save(`${path}/model`),
          saveTrainingState: () => engine.saveTrainingState(`${path}/state`, { weights: true }),
          saveRoundWeights: () => engine.saveRoundWeights(`${path}/round`),
          update: () => engine.update(sft, step),
          gradients: () => engine.gradients(sft),
          writeTensors: () => engine.readTensors().then((tensors) => engine.writeTensors(tensors)),
          markRound: () => engine.markRound(),
          resetOptimizer: () => engine.resetOptimizer(),
          prepareTraining: () => engine.prepareTraining(trainingOptions),
          withInitialWeights: () => engine.withInitialWeights(async () => {}),
          withRoundWeights: () => engine.withRoundWeights(async () => {}),
        };
        let begin = () => {};
        const begun = new Promise<void>((resolve) => {
          begin = resolve;
        });
        let end = () => {};
        const ended = new Promise<void>((resolve) => {
          end = resolve;
        });
        const pass = engine[command](async () => {
          begin();
          await ended;
          return engine.score(rows);
        });
        for (const work of Object.values(others)) await assertRejects(work, BUSY, /other weights are in place/);
        await begun;
        for (const work of Object.values(others)) await assertRejects(work, BUSY, /other weights are in place/);
        assert.ok((await engine.memory()).current_bytes > 0);
        end();
        assert.deepEqual(await pass, scores[name]);
      }));

    test(`${command}: its own code sees them, after a timer, in a callback, in a command that it did not wait for`, () =>
      withThree(async (engine, scores) => {
        const seen: Promise<ScoredRow[]>[] = [];
        await engine[command](async () => {
          seen.push(engine.score(rows), engine.score(rows));
          await new Promise((resolve) => setTimeout(resolve, 2));
          seen.push(Promise.resolve().then(() => engine.score(rows)));
          await new Promise<void>((resolve) =>
            setImmediate(() => {
              seen.push(engine.score(rows));
              resolve();
            }),
          );
          const onToken = () => {
            if (seen.length < 6) seen.push(engine.score(rows));
            return undefined;
          };
          await engine.generate(prompts, { ...sampling, onToken });
          seen.push(engine.score(rows));
        });
        assert.ok(seen.length >= 6);
        for (const found of await Promise.all(seen)) assert.deepEqual(found, scores[name]);
      }));

    test(`${command}: what was called before it is done with today’s weights first`, () =>
      withThree(async (engine, scores) => {
        const before = [engine.score(rows), engine.score(rows)];
        const inside = engine[command](() => engine.score(rows));
        for (const found of await Promise.all(before)) assert.deepEqual(found, scores.today);
        assert.deepEqual(await inside, scores[name]);
      }));

    test(`${command}: inside it nothing is changed and no other pass begins`, () =>
      withThree(async (engine, scores) => {
        const path = temporaryFolder();
        const found = await engine[command](async () => {
          for (const work of [
            () => engine.update(sft, step),
            () => engine.gradients(sft),
            () => engine.markRound(),
            () => engine.resetOptimizer(),
            () => engine.prepareTraining(trainingOptions),
            () => engine.loadTrainingState(path),
            () => engine.saveTrainingState(`${path}/state`, { weights: true }),
            () => engine.withInitialWeights(async () => {}),
            () => engine.withRoundWeights(async () => {}),
          ])
            await assertRejects(work, BUSY);
          return engine.score(rows);
        });
        assert.deepEqual(found, scores[name]);
      }));
  }

  test('the round’s copy cannot be saved while today’s weights lie in its place', () =>
    withThree(async (engine, scores) => {
      const path = `${temporaryFolder()}/round`;
      await engine.withRoundWeights(() => assertRejects(() => engine.saveRoundWeights(path), BUSY));
      await engine.withInitialWeights(() => engine.saveRoundWeights(path));
      await engine.loadRoundWeights(path);
      assert.deepEqual(await engine.withRoundWeights(() => engine.score(rows)), scores.round);
    }));

  test('a pass that cannot begin: an error, and today’s weights stay', async () => {
    const folder = join(temporaryFolder(), 'model');
    cpSync(goldenModel('llama-gqa'), folder, { recursive: true });
    await using engine = await Engine.load(folder, { threads: 2 });
    await engine.prepareTraining(trainingOptions);
    await engine.update(sft, step);
    const today = await engine.score(rows);
    rmSync(folder, { recursive: true });
    await assertRejects(() => engine.withRoundWeights(() => engine.score(rows)), 'ERR_GLEANER_USAGE', /no round/);
    await assertRejects(() => engine.withInitialWeights(() => engine.score(rows)), 'ERR_GLEANER_MODEL', /model/);
    assert.deepEqual(await engine.score(rows), today);
    assert.equal((await engine.update(sft, step)).skipped, false);
  });

  test('close amid a pass: its commands and its end are told, nothing hangs', async () => {
    for (const [, command] of passes) {
      await withGolden('llama-gqa', {}, async (engine) => {
        await engine.markRound();
        let mine: Promise<Error> | undefined;
        const closing = () => engine.close();
        await assertRejects(
          () =>
            engine[command](async () => {
              await closing();
              mine = assertRejects(() => engine.score(rows), 'ERR_GLEANER_CLOSED');
            }),
          'ERR_GLEANER_CLOSED',
        );
        await mine;
        await assert.rejects(() => engine[command](async () => {}), { code: 'ERR_GLEANER_CLOSED' });
      });
    }
  });
});

suite('commands that meet', (test) => {
  test('a score beside updates sees the weights of one moment', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 32 });
      const wanted = [await engine.score(rows)];
      const weights = await engine.readTensors();
      for (let i = 0; i < 3; ++i) {
        await engine.update(sft, step);
        wanted.push(await engine.score(rows));
      }
      await engine.writeTensors(weights);
      await engine.resetOptimizer();
      const found: Promise<ScoredRow[]>[] = [];
      for (let i = 0; i < 3; ++i) {
        found.push(engine.score(rows), engine.score(rows));
        await engine.update(sft, step);
      }
      found.push(engine.score(rows));
      assert.deepEqual(
        await Promise.all(found),
        [0, 0, 1, 1, 2, 2, 3].map((moment) => wanted[moment]),
      );
    }));

  test('changes called at once happen in the order of the calls', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining(trainingOptions);
      const first = await engine.readTensors();
      const path = `${temporaryFolder()}/state`;
      await Promise.all([
        engine.update(sft, step),
        engine.markRound(),
        engine.saveTrainingState(path, { weights: true }),
        engine.writeTensors(first),
        engine.resetOptimizer(),
      ]);
      assertSameBits(await engine.readTensors(), first);
      await engine.loadTrainingState(path);
      const after = await engine.readTensors();
      assertSameBits(await engine.withRoundWeights(() => engine.readTensors()), after);
      assert.throws(() => assertSameBits(after, first));
    }));

  test('what waits for its turn leaves it when aborted, and the others move up', () =>
    withGolden('llama-gqa', {}, async (engine) => {
      await engine.prepareTraining({ ...trainingOptions, micro_batch_tokens: 32 });
      const controller = new AbortController();
      const { signal } = controller;
      const order: string[] = [];
      const done = (name: string) => () => order.push(name);
      const update = engine.update(sft, step).then(done('update'));
      const aborted = assertRejects(() => engine.score(rows, { signal }), 'ABORT_ERR').then(done('aborted'));
      const change = assertRejects(
        () => engine.saveTrainingState('/nowhere', { weights: false, signal }),
        'ABORT_ERR',
      ).then(done('change'));
      const last = engine.score(rows).then(done('last'));
      controller.abort();
      await Promise.all([update, aborted, change, last]);
      assert.deepEqual(
        [order.slice(0, 2).sort(), order.slice(2)],
        [
          ['aborted', 'change'],
          ['update', 'last'],
        ],
      );
    }));
});

suite('the gate itself', (test) => {
  test('readers together, changes alone, first come first served', async () => {
    const gate = new Gate();
    const log: string[] = [];
    const work = (name: string) => async () => {
      log.push(`+${name}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
      log.push(`-${name}`);
    };
    await Promise.all([
      gate.read(work('a')),
      gate.read(work('b')),
      gate.change(work('c')),
      gate.read(work('d')),
      gate.change(work('e')),
    ]);
    assert.deepEqual(log, ['+a', '+b', '-a', '-b', '+c', '-c', '+d', '-d', '+e', '-e']);
  });

  test('work that throws at once or later lets the next in', async () => {
    const gate = new Gate();
    const fail = () => {
      throw new RangeError('mine');
    };
    const later = () => Promise.reject(new RangeError('mine'));
    for (const work of [fail, later]) {
      await assert.rejects(() => gate.read(work), RangeError);
      await assert.rejects(() => gate.change(work), RangeError);
      await assert.rejects(() => gate.pass((run) => run(work)), RangeError);
      await assert.rejects(() => gate.pass(work), RangeError);
    }
    assert.equal(await gate.change(async () => 1), 1);
    assert.equal(await gate.pass((run) => run(async () => gate.read(async () => 2))), 2);
  });
});
