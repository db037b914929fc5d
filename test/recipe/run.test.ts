// A recipe from its text to the files of its run, on the real engine.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tableFromIPC } from 'apache-arrow';
import { readRows } from '../../src/data/readers.js';
import { Engine } from '../../src/engine/engine.js';
import { dryRun } from '../../src/recipe/dry_run.js';
import { loadModel } from '../../src/recipe/language_model.js';
import { readRecipe } from '../../src/recipe/read.js';
import { run } from '../../src/recipe/run.js';
import { assertRejects, suite } from '../support/suite.js';
import { tinyRun } from '../support/tiny_run.js';

const TIMES = new Set([
  'tokens_per_second',
  'time/update',
  'time/data',
  'time/generation',
  'time/evaluation',
  'memory/peak_bytes',
]);

function metricsOf(path: string): Record<string, number>[] {
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return lines.map((line) =>
    Object.fromEntries(Object.entries(JSON.parse(line) as Record<string, number>).filter(([key]) => !TIMES.has(key))),
  );
}

async function weightsOf(path: string): Promise<Map<string, Float32Array>> {
  await using engine = await Engine.load(path, { threads: 1 });
  return await engine.readTensors();
}

suite('a run', (test) => {
  test('leaves recipe, plan, metrics, generations, samples and a model that loads', async () => {
    const tiny = tinyRun();
    const result = await run(tiny.recipe);
    assert.equal(result.steps, 6);
    const metrics = metricsOf(tiny.path('run', 'metrics.jsonl'));
    assert.deepEqual(
      metrics.filter((record) => 'loss' in record).map((record) => [record.step, record.round]),
      [
        [1, 0],
        [2, 0],
        [3, 0],
        [4, 1],
        [5, 1],
        [6, 1],
      ],
    );
    for (const first of metrics.filter((record) => 'loss' in record && (record.step === 1 || record.step === 4))) {
      assert.ok(Math.abs((first.loss ?? 0) - Math.log(2)) < 1e-5, `${first.loss}`);
      assert.ok(Math.abs(first['rewards/margins'] ?? 1) < 1e-5);
    }
    for (const round of [0, 1]) {
      const table = tableFromIPC(readFileSync(tiny.path('run', 'rounds', `${round}`, 'generations.arrow')));
      assert.deepEqual(
        table.schema.fields.map((field) => field.name),
        [
          'id',
          'prompt',
          'response',
          'demonstration',
          'index',
          'prompt_ids',
          'response_ids',
          'demonstration_ids',
          'token_logprobs',
          'logprob',
          'finish_reason',
        ],
      );
      assert.equal(table.numRows, 12);
      assert.ok((table.getChild('response_ids')?.get(0)?.length ?? 0) > 0);
    }
    assert.deepEqual(readdirSync(tiny.path('run', 'samples')).sort(), ['step-0.arrow', 'step-3.arrow', 'step-6.arrow']);
    assert.deepEqual((await readRecipe(tiny.path('run', 'recipe.yaml'))).irft.rounds, 2);
    assert.ok((await weightsOf(result.final)).size > 10);
    assert.deepEqual(readdirSync(tiny.path('run', 'checkpoints')), ['step-3']); // the edge of a round
  });

  test('is the same twice and with any number of threads, to the bit', async () => {
    const tiny = tinyRun();
    const runs: { metrics: Record<string, number>[]; weights: Map<string, Float32Array> }[] = [];
    for (const [name, threads] of [
      ['a', 1],
      ['b', 1],
      ['c', 2],
    ] as const) {
      const { final } = await run({ ...tiny.recipe, threads, output: tiny.path(name) });
      runs.push({ metrics: metricsOf(tiny.path(name, 'metrics.jsonl')), weights: await weightsOf(final) });
    }
    assert.deepEqual(runs[1], runs[0]);
    assert.deepEqual(runs[2], runs[0]);
    const other = await run({ ...tiny.recipe, seed: 43, output: tiny.path('d') });
    assert.notDeepEqual(await weightsOf(other.final), runs[0]?.weights);
  });

  test('sft learns: the held-out loss falls', async () => {
    const tiny = tinyRun(80);
    const records: Record<string, number>[] = [];
    await run(
      { ...tiny.recipe, method: 'sft', train: { ...tiny.recipe.train, epochs: 12 } },
      { onMetrics: (record) => records.push(record) },
    );
    const losses = records.filter((record) => 'eval/loss' in record).map((record) => record['eval/loss'] ?? Number.NaN);
    assert.ok((losses.at(-1) ?? 9) < 0.5 * (losses[0] ?? 0), `${losses}`);
  });

  test('spin, on-line IRFT and an initial reference run to their end', async () => {
    const tiny = tinyRun();
    await run({ ...tiny.recipe, method: 'spin', spin: { iterations: 2, beta: [0.1, 5] }, output: tiny.path('spin') });
    await run({
      ...tiny.recipe,
      irft: { rounds: 2, generation_rate: 0.5, nll_weight: 0.5 },
      output: tiny.path('online'),
    });
    const initial = await run({
      ...tiny.recipe,
      irft: { rounds: 2, reference: 'initial', chunks: 'all', restart: 'never' },
      output: tiny.path('initial'),
    });
    const first = metricsOf(tiny.path('initial', 'metrics.jsonl')).find(
      (record) => record.round === 1 && 'loss' in record,
    );
    assert.ok(Math.abs(first?.['rewards/margins'] ?? 0) > 1e-4);
    assert.equal(initial.steps, 12);
  });

  test('a reward of the caller’s is reported', async () => {
    const tiny = tinyRun();
    const { metrics } = await run(tiny.recipe, { reward: (answers) => answers.map((_, place) => place) });
    assert.equal(metrics['eval/reward'], 1);
  });

  test('a used folder is refused, and replaced only when asked', async () => {
    const tiny = tinyRun();
    const recipe = { ...tiny.recipe, method: 'sft', evaluation: { samples: 0 } } as const;
    await run(recipe);
    writeFileSync(tiny.path('run', 'notes.txt'), 'mine');
    await assertRejects(() => run(recipe), 'ERR_GLEANER_USAGE', /holds a run already/);
    await run(recipe, { overwrite: true });
    assert.equal(readFileSync(tiny.path('run', 'notes.txt'), 'utf8'), 'mine');
    await assertRejects(
      () => run({ ...recipe, model: tiny.path('run', 'final'), init: 'pretrained' }, { overwrite: true }),
      'ERR_GLEANER_USAGE',
      /belongs to the run/,
    );
    assert.ok(existsSync(tiny.path('run', 'final', 'model.safetensors')));
    writeFileSync(tiny.path('file'), '');
    await assertRejects(() => run({ ...recipe, output: tiny.path('file') }), 'ERR_GLEANER_USAGE', /is a file/);
    await assertRejects(() => run({ ...recipe, output: tiny.path('file', 'below') }), 'ERR_GLEANER_DISK');
    // A file system that has no room for folders: Node's recursive mkdir would never come back.
    if (existsSync('/proc/self'))
      await assertRejects(() => run({ ...recipe, output: '/proc/nowhere/run' }), 'ERR_GLEANER_DISK', /\/proc\/nowhere/);
  });

  test('an abort saves the policy and says where; before the first step there is nothing to save', async () => {
    const tiny = tinyRun();
    const controller = new AbortController();
    const error = await assertRejects(
      () =>
        run(tiny.recipe, { signal: controller.signal, onMetrics: (record) => record.step === 4 && controller.abort() }),
      'ABORT_ERR',
    );
    assert.equal(error.name, 'AbortError');
    assert.ok('checkpoint' in error && error.checkpoint === tiny.path('run', 'checkpoints', 'step-4', 'policy'));
    assert.ok((await weightsOf(tiny.path('run', 'checkpoints', 'step-4', 'policy'))).size > 10);
    const early = await assertRejects(
      () => run({ ...tiny.recipe, output: tiny.path('early') }, { signal: AbortSignal.abort() }),
      'ABORT_ERR',
    );
    assert.ok(!('checkpoint' in early));
  });

  test('a failure too leaves the policy of the steps that were done', async () => {
    const tiny = tinyRun();
    const failed = await run(tiny.recipe, {
      onMetrics: (record) => {
        if (record.step === 4) throw new Error('a fault of the caller');
      },
    }).catch((error: unknown) => error);
    assert.ok(failed instanceof Error && failed.message === 'a fault of the caller');
    assert.ok('checkpoint' in failed && failed.checkpoint === tiny.path('run', 'checkpoints', 'step-4', 'policy'));
    assert.ok(existsSync(tiny.path('run', 'checkpoints', 'step-4', 'policy', 'model.safetensors')));
  });

  test('where nothing is finite any more the run ends, with the batch that did it as rows to look at', async () => {
    const tiny = tinyRun();
    const recipe = {
      ...tiny.recipe,
      method: 'sft',
      train: {
        ...tiny.recipe.train,
        epochs: 9,
        max_grad_norm: null,
        optimizer: { name: 'adamw', learning_rate: 1e25 },
      },
    } as const;
    const error = await assertRejects(() => run(recipe), 'ERR_GLEANER_NUMERIC', /10 steps in a row/);
    assert.ok('checkpoint' in error && typeof error.checkpoint === 'string' && existsSync(error.checkpoint));
    const [file = ''] = readdirSync(tiny.path('run', 'failed'));
    const path = tiny.path('run', 'failed', file);
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    assert.equal(lines.length, 4);
    await using model = await loadModel(error.checkpoint, { threads: 1 });
    const scored: string[] = [];
    for await (const { id } of model.score(readRows([path], { format: 'auto', limit: null }))) scored.push(id);
    assert.deepEqual(
      scored,
      lines.map((line) => JSON.parse(line).id),
    );
    const warnings = readFileSync(tiny.path('run', 'warnings.jsonl'), 'utf8');
    assert.equal(warnings.match(/was skipped/g)?.length, 10);
  });

  test('checkpoints: every so many steps, the last ones stay', async () => {
    const tiny = tinyRun();
    await run({ ...tiny.recipe, checkpoint: { every: 1, keep: 2 } });
    assert.deepEqual(readdirSync(tiny.path('run', 'checkpoints')).sort(), ['step-5', 'step-6']);
    const [checkpoint, final] = [
      await weightsOf(tiny.path('run', 'checkpoints', 'step-6', 'policy')),
      await weightsOf(tiny.path('run', 'final')),
    ];
    assert.deepEqual(checkpoint, final);
  });
});

suite('a plan', (test) => {
  const silent = { info() {}, warn() {} };

  test('tells steps, sizes and memory, and writes nothing', async () => {
    const tiny = tinyRun();
    const { plan } = await dryRun(tiny.recipe, silent);
    assert.deepEqual(plan.rounds, [
      { rows: 12, generations: 12, steps: 3 },
      { rows: 12, generations: 12, steps: 3 },
    ]);
    assert.equal(plan.steps, 6);
    assert.equal(plan.data.longest_sequence, 2 + 9); // eight new tokens and an EOS, more than any demonstration
    assert.ok(plan.memory.total_bytes > 0 && plan.memory.kv_cache > 0);
    assert.ok(!existsSync(tiny.path('run')));
  });

  test('stands on the recipe’s limits where the data is missing, and says so', async () => {
    const tiny = tinyRun();
    const said: string[] = [];
    const log = { info: (text: string) => said.push(text), warn: (text: string) => said.push(text) };
    const { plan } = await dryRun(
      { ...tiny.recipe, data: { train: 'nowhere.jsonl', limit: 100, max_length: 24, max_prompt_length: 8 } },
      log,
    );
    assert.equal(plan.steps, 26);
    assert.equal(plan.data.longest_tree, 24 + 16);
    assert.ok(said.some((text) => text.includes('nowhere.jsonl')));
  });

  test('a run that does not fit is refused, with settings that would', async () => {
    const tiny = tinyRun();
    const { plan } = await dryRun(tiny.recipe, silent);
    const { total_bytes } = plan.memory;
    const advised = await assertRejects(
      () =>
        run({
          ...tiny.recipe,
          train: { ...tiny.recipe.train, micro_batch_tokens: 20_000 },
          memory_limit_bytes: total_bytes,
        }),
      'ERR_GLEANER_MEMORY',
      /needs/,
    );
    assert.ok(
      'hint' in advised && /It would fit with data\.max_length 24, train\.activations keep/.test(String(advised.hint)),
    );
    const hopeless = await assertRejects(
      () => run({ ...tiny.recipe, memory_limit_bytes: 20_000 }),
      'ERR_GLEANER_MEMORY',
    );
    assert.ok('hint' in hopeless && /optimizer state alone/.test(String(hopeless.hint)));
  });

  test('smaller auto sizes are chosen where memory is short, and the run keeps to them', async () => {
    const tiny = tinyRun();
    const { plan: roomy } = await dryRun(tiny.recipe, silent);
    const { plan: tight } = await dryRun({ ...tiny.recipe, memory_limit_bytes: roomy.memory.total_bytes - 1 }, silent);
    assert.ok(tight.does_not_fit === null && tight.memory.total_bytes < roomy.memory.total_bytes);
    const result = await run({ ...tiny.recipe, memory_limit_bytes: tight.memory.total_bytes });
    assert.ok((result.metrics['memory/peak_bytes'] ?? Number.POSITIVE_INFINITY) <= tight.memory.total_bytes);
  });

  test('lengths that the model has no positions for are refused', async () => {
    const tiny = tinyRun();
    const data = { train: tiny.path('train.jsonl') };
    await assertRejects(
      () => dryRun({ ...tiny.recipe, data: { ...data, max_length: 65 } }, silent),
      'ERR_GLEANER_RECIPE',
      /data\.max_length is 65: the model has 64 positions/,
    );
    await assertRejects(
      () => dryRun({ ...tiny.recipe, data: { ...data, max_length: 32, max_prompt_length: 32 } }, silent),
      'ERR_GLEANER_RECIPE',
      /no room for an answer/,
    );
    await assertRejects(
      () => dryRun({ ...tiny.recipe, data: { ...data, max_length: 64, max_prompt_length: 60 } }, silent),
      'ERR_GLEANER_RECIPE',
      /max_prompt_length 60 and generation\.max_new_tokens 8 make 68 tokens/,
    );
    // Without held-out prompts SFT samples nothing, whatever evaluation.samples says.
    const { plan } = await dryRun(
      { ...tiny.recipe, method: 'sft', data: { ...data, max_length: 64, max_prompt_length: 60 } },
      silent,
    );
    assert.equal(plan.generation, null);
  });

  test('missing and damaged inputs are named', async () => {
    const tiny = tinyRun();
    await assertRejects(() => run({ ...tiny.recipe, model: tiny.path('nowhere') }), 'ERR_GLEANER_MODEL', /nowhere/);
    await assertRejects(
      () => run({ ...tiny.recipe, data: { train: tiny.path('nowhere.jsonl') } }),
      'ERR_GLEANER_DATA',
      /nowhere\.jsonl/,
    );
    writeFileSync(
      tiny.path('bad.jsonl'),
      '{"prompt_ids": [1], "response_ids": [2]}\n{"prompt_ids": [1], "response_ids": [99]}\n',
    );
    await assertRejects(
      () => run({ ...tiny.recipe, data: { train: tiny.path('bad.jsonl'), max_length: 24, max_prompt_length: 8 } }),
      'ERR_GLEANER_DATA',
      /99/,
    );
    mkdirSync(tiny.path('empty'));
    writeFileSync(tiny.path('empty', 'none.jsonl'), '');
    await assertRejects(
      () =>
        run({
          ...tiny.recipe,
          data: { train: tiny.path('empty', 'none.jsonl'), max_length: 24, max_prompt_length: 8 },
        }),
      'ERR_GLEANER_DATA',
      /no row/,
    );
    await assertRejects(() => run({ ...tiny.recipe, init: 'pretrained' }), 'ERR_GLEANER_MODEL', /model\.safetensors/);
  });
});

suite('a loaded model', (test) => {
  test('any number of answers is sampled, as they are taken; each is the same as with fewer', async () => {
    const tiny = tinyRun();
    const { final } = await run({ ...tiny.recipe, method: 'sft', evaluation: { samples: 0 } });
    await using model = await loadModel(final, { threads: 1 });
    const row = { kind: 'ids', id: 'a', prompt_ids: [1, 5], response_ids: [6] } as const;
    const first = async (num: number) => {
      const answers: string[] = [];
      for await (const { sample, response_ids } of model.generate([row], { num, max_new_tokens: 4 })) {
        answers.push(`${sample}: ${response_ids.join()}`);
        if (answers.length === 3) break;
      }
      return answers;
    };
    assert.deepEqual(await first(2 ** 50), await first(3));
    await assertRejects(() => first(0), 'ERR_GLEANER_USAGE', /num is 0/);
  });
});
