// The report of whatever a run's folder holds: all of it, nothing but a beginning, or damage.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { type GenerationRow, writeGenerations } from '../../src/output/generations.js';
import { run } from '../../src/recipe/run.js';
import { type ReportOptions, writeReport } from '../../src/report/report.js';
import { assertRejects, suite } from '../support/suite.js';
import { temporaryFolder, tinyRun } from '../support/tiny_run.js';

const pageShape = z.object({
  runs: z.array(z.object({ name: z.string(), rounds: z.array(z.object({ round: z.number(), step: z.number() })) })),
  charts: z.array(
    z.object({
      lines: z.array(
        z.object({ key: z.string(), run: z.number(), x: z.array(z.number()), y: z.array(z.number().nullable()) }),
      ),
    }),
  ),
  steps: z.number(),
});

async function report(folders: readonly string[], options?: ReportOptions) {
  const out = join(temporaryFolder(), 'report.html');
  const runs = await writeReport(folders, out, options);
  const text = readFileSync(out, 'utf8');
  const [, json = ''] = /<script type="application\/json" id="data">(.*?)<\/script>/s.exec(text) ?? [];
  const data = pageShape.parse(JSON.parse(json));
  const body = text.slice(text.indexOf('<main'), text.indexOf('<script type="application/json"'));
  return { runs, text, data, body, keys: data.charts.flatMap(({ lines }) => lines.map(({ key }) => key)) };
}

function folderWith(files: Readonly<Record<string, string>>): string {
  const folder = temporaryFolder();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

/** Says what is missing and not the whole page. */
function assertHas(text: string, ...patterns: readonly RegExp[]): void {
  for (const pattern of patterns) assert.ok(pattern.test(text), `the page has no ${pattern}`);
}

const lines = (...records: object[]) => `${records.map((record) => JSON.stringify(record)).join('\n')}\n`;
const tiny = tinyRun();
const irft = tiny.path('run');
const sft = tiny.path('sft');

suite('report', (test) => {
  test.before(async () => {
    await run({ ...tiny.recipe, name: 'tiny', evaluation: { every: 2, samples: 3 } });
    await run({ ...tiny.recipe, name: 'tiny', method: 'sft', output: sft });
  });

  test('of an IRFT run: every curve, its rounds, its state, its texts', async () => {
    const { runs, data, body, keys, text } = await report([irft]);
    assert.equal(runs[0]?.state, 'finished');
    assert.equal(runs[0]?.step, 6);
    assert.deepEqual(data.runs[0]?.rounds, [
      { round: 0, step: 0 },
      { round: 1, step: 3 },
    ]);
    for (const key of [
      'loss',
      'rewards/real',
      'rewards/generated',
      'rewards/margins',
      'rewards/accuracies',
      'logps/real',
      'grad_norm',
      'learning_rate',
      'tokens_per_second',
      'eval/loss',
      'eval/logp_gap',
    ])
      assert.ok(keys.includes(key), key);
    const loss = data.charts.flatMap((chart) => chart.lines).find(({ key }) => key === 'loss');
    const metrics = readFileSync(join(irft, 'metrics.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => z.looseObject({ step: z.number(), loss: z.number().optional() }).parse(JSON.parse(line)));
    const wanted = metrics.filter((record) => record.loss !== undefined);
    assert.deepEqual(
      loss?.x,
      wanted.map(({ step }) => step),
    );
    assert.deepEqual(
      loss?.y,
      wanted.map((record) => Number(record.loss?.toPrecision(6))),
    );
    assertHas(
      body,
      /<h1>tiny<\/h1>/,
      /Finished/,
      /Round 1/,
      /After step 6/,
      /packed weights/,
      /<b>method:<\/b> irft/,
      /eval\/loss/,
      /<dt>isa<\/dt>/,
    );
    assert.ok(!/<(?:script|link|img|iframe)[^>]*(?:src|href)=/.test(text), 'something is loaded');
    assert.ok(!/https?:\/\/(?!github\.com\/leeoniya|www\.w3\.org)/.test(text), 'an address of the network');
  });

  test('of an SFT run: no round, no pair', async () => {
    const { keys, body } = await report([sft]);
    assert.ok(keys.includes('loss') && !keys.includes('rewards/real'));
    assert.ok(!/What each round trained on/.test(body));
    assertHas(body, /Nothing: no step was skipped/);
  });

  test('of several runs: same curves over each other, a table, what differs in the recipes', async () => {
    const { data, body } = await report([irft, sft]);
    const loss = data.charts.find((chart) => chart.lines.some(({ key }) => key === 'loss'));
    assert.deepEqual(
      loss?.lines.map((line) => line.run),
      [0, 1],
    );
    assert.deepEqual(
      data.runs.map(({ name }) => name),
      [`tiny (${irft})`, `tiny (${sft})`],
    ); // told apart
    assertHas(body, /2 runs compared/);
    assertHas(body, /<code>method<\/code><\/th><td>irft<\/td><td>sft<\/td>/);
    assert.ok(!/<code>seed<\/code>/.test(body), 'a key on which they agree');
    assertHas(body, /answered by each run at its end/);
    assertHas((await report([irft, irft])).body, /agree in every key/);
  });

  test('texts: differences marked, markup shown and not obeyed', async () => {
    const folder = folderWith({ 'metrics.jsonl': '', 'recipe.yaml': 'name: "</title><script>x</script>"\n' });
    const row = (more: Partial<GenerationRow>): GenerationRow => ({
      id: 'a',
      index: 0,
      prompt: 'p',
      response: 'r',
      demonstration: 'd',
      prompt_ids: [1],
      response_ids: [2],
      demonstration_ids: [3],
      token_logprobs: [-1],
      logprob: -1,
      finish_reason: 'eos',
      ...more,
    });
    await writeGenerations(join(folder, 'rounds/0/generations.arrow'), [
      row({ prompt: '<img src=x onerror=alert(1)>', response: 'the cat </script> sat', demonstration: 'the dog sat' }),
      row({
        prompt: '',
        response: '',
        demonstration: '',
        prompt_ids: [5, 6],
        response_ids: [7],
        demonstration_ids: [7, 8],
      }),
      row({ response: 'x'.repeat(10_000), demonstration: 'y '.repeat(5000) }),
    ]);
    const { body, text } = await report([folder]);
    assertHas(body, /the <del>dog<\/del> sat/);
    assertHas(body, /the <ins>cat<\/ins> <ins>&lt;\/script&gt; <\/ins>sat/);
    assertHas(body, /&lt;img src=x onerror=alert\(1\)&gt;/);
    assertHas(body, /ids 5 6/, /ids 7<del> 8<\/del>/);
    assertHas(body, /7,000 characters more/);
    assertHas(text, /<title>&lt;\/title&gt;/);
  });

  test('of a run in progress: what is there, and a word on what is not', async () => {
    const started = folderWith({ 'recipe.yaml': 'name: early\nmethod: irft\n' });
    const { body, runs } = await report([started]);
    assert.equal(runs[0]?.state, 'unfinished');
    assertHas(
      body,
      /early/,
      /Not finished/,
      /No step was recorded yet/,
      /metrics\.jsonl is missing/,
      /Nothing was evaluated/,
      /plan\.json is missing/,
      /environment\.json is not there/,
    );
    writeFileSync(
      join(started, 'metrics.jsonl'),
      `${lines({ step: 1, loss: 2 }, { step: 2, loss: 1 })}{"step": 3, "lo`,
    );
    const later = await report([started], { state: 'interrupted' });
    assertHas(later.body, /Interrupted.*after 2 steps/);
    assertHas(later.body, /the last line is cut/);
    assert.deepEqual(later.keys, ['loss']);
  });

  test('what went wrong is said: skipped steps, dropped pairs, warnings', async () => {
    const { body, data } = await report([
      folderWith({
        'recipe.yaml': 'name: a\n',
        'metrics.jsonl': lines(
          { step: 0, round: 0, 'pairs/identical': 2, 'pairs/empty': 1, 'time/generation': 1 },
          { step: 1, round: 0, loss: 1, skipped_steps: 0 },
          { step: 2, round: 0, loss: null, skipped_steps: 1 },
          { step: 3, round: 0, loss: 2, skipped_steps: 1 },
        ),
        'warnings.jsonl': `${lines({ step: 2, message: 'too <hot>' })}nonsense\n`,
      }),
    ]);
    assertHas(
      body,
      /1 step skipped.*step 2\)/,
      /2 pairs dropped: the generated/,
      /1 pair dropped: the prompt/,
      /Step 2: too &lt;hot&gt;/,
    );
    assert.deepEqual(data.charts[0]?.lines[0]?.y, [1, null, 2]); // a gap
  });

  test('damage is said and does not stop the rest', async () => {
    const folder = folderWith({
      'recipe.yaml': 'name: [unclosed\n',
      'plan.json': '{"steps": "many", "memory": {"weights": "x"}}',
      'environment.json': '[]',
      'metrics.jsonl': `nonsense\n[]\n{"step": "x"}\n{"loss": 1}\n${'x'.repeat(3_000_000)}\n${lines({ step: 1, loss: 3, __proto__: 1, words: 'x', constructor: 2 })}\n`,
    });
    mkdirSync(join(folder, 'rounds', '0'), { recursive: true });
    mkdirSync(join(folder, 'rounds', '1'));
    writeFileSync(join(folder, 'rounds', '0', 'generations.arrow'), 'ARROW1\0\0 nothing');
    const { body, keys } = await report([folder]);
    assertHas(
      body,
      /recipe\.yaml is not valid YAML/,
      /environment\.json is not what gleaner writes/,
      /5 lines could not be read, the first is line 1/,
      /not an Arrow file/,
    );
    assert.deepEqual(keys, ['loss', 'constructor']);
    // Cut anywhere, there is a report.
    const copy = folderWith({ 'recipe.yaml': readFileSync(join(irft, 'recipe.yaml'), 'utf8') });
    for (const name of ['metrics.jsonl', 'plan.json']) {
      const whole = readFileSync(join(irft, name));
      for (let length = whole.length; length >= 0; length -= Math.ceil(whole.length / 9)) {
        writeFileSync(join(copy, name), whole);
        truncateSync(join(copy, name), length);
        await report([copy]);
      }
    }
  });

  test('a folder that is no run is an error that names what was expected', async () => {
    const refused = (path: string, pattern: RegExp) =>
      assertRejects(() => report([path]), 'ERR_GLEANER_USAGE', pattern);
    await refused('/nowhere', /\/nowhere does not exist/);
    await refused(join(irft, 'recipe.yaml'), /is a file/);
    const error = await refused(tiny.folder, /neither recipe\.yaml nor metrics\.jsonl/);
    assert.ok('hint' in error && String(error.hint).includes(irft), 'the runs below are named');
    await refused(temporaryFolder(), /is not the folder of a run/);
  });

  test('100,000 steps give a page of less than a megabyte', async () => {
    const records = Array.from(
      { length: 100_000 },
      (_, i) =>
        `{"step":${i + 1},"round":0,"loss":${1 / (i + 1)},"rewards/real":${Math.sin(i)},"rewards/generated":${Math.cos(i)},"grad_norm":1,"learning_rate":${i},"tokens_per_second":${i % 977}}`,
    );
    const folder = folderWith({ 'recipe.yaml': 'name: long\n', 'metrics.jsonl': records.join('\n') });
    const { text, runs } = await report([folder]);
    assert.ok(text.length < 1e6, `${text.length} bytes`);
    assert.equal(runs[0]?.step, 100_000);
    rmSync(folder, { recursive: true });
  });
});
