// The commands as a person types them: what they print where, and how they end.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { z } from 'zod';
import { runFiles } from '../support/run_files.js';
import { sharedData, suite } from '../support/suite.js';
import { tinyRow, tinyRun } from '../support/tiny_run.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

function gleaner(
  args: readonly string[],
  {
    onStderr,
    leaveStderr,
  }: {
    onStderr?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
    /** The reader of stderr goes away after its first words. */
    leaveStderr?: boolean;
  } = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['bin/gleaner.mjs', ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended: Ended = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      ended.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      ended.stderr += text;
      onStderr?.(ended.stderr, (signal) => child.kill(signal));
      if (leaveStderr) child.stderr.destroy();
    });
    child.on('close', (code) => resolve({ ...ended, code }));
  });
}

const tiny = tinyRun();
const recipePath = tiny.path('recipe.yaml');
writeFileSync(recipePath, stringify(tiny.recipe));
writeFileSync(tiny.path('ids.jsonl'), [0, 1, 2].map((i) => JSON.stringify(tinyRow(i))).join('\n'));
const answerShape = z.strictObject({
  id: z.string(),
  prompt: z.string(),
  response: z.string(),
  prompt_ids: z.array(z.int()),
  response_ids: z.array(z.int()),
  logprob: z.number(),
  finish_reason: z.enum(['eos', 'stop', 'length']),
});

function assertOneMessage({ stderr }: Ended, pattern: RegExp): void {
  assert.match(stderr, pattern);
  assert.ok(!/\n\s+at /.test(stderr), `a stack trace for a user's mistake:\n${stderr}`);
}

suite('gleaner', (test) => {
  test('--help, --version and each command’s --help, with an example', async () => {
    const [help, version, ...commands] = await Promise.all([
      gleaner(['--help']),
      gleaner(['--version']),
      ...['train', 'generate', 'score', 'doctor'].map((name) => gleaner([name, '--help'])),
    ]);
    assert.ok(help?.code === 0 && version?.code === 0);
    assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
    for (const command of commands) {
      assert.equal(command.code, 0);
      assert.match(command.stdout, /Examples?:\n {2}gleaner /);
    }
  });

  test('bad usage ends with 2 and says what was meant', async () => {
    const unknown = await gleaner(['trian', 'x.yaml']);
    assert.equal(unknown.code, 2);
    assertOneMessage(unknown, /unknown command 'trian'[\s\S]*train/);
    const option = await gleaner(['train', 'x.yaml', '--dryrun']);
    assert.equal(option.code, 2);
    assertOneMessage(option, /--dry-run/);
    const none = await gleaner([]);
    assert.equal(none.code, 2);
  });
});

suite('gleaner train', (test) => {
  test('--dry-run prints recipe and plan and writes nothing; --json is one object', async () => {
    const [text, json] = await Promise.all([
      gleaner(['train', recipePath, '--dry-run']),
      gleaner(['train', recipePath, '--dry-run', '--json']),
    ]);
    assert.equal(text.code, 0);
    assert.match(text.stdout, /batch_size: 4/);
    assert.match(text.stdout, /optimizer +│/);
    assert.equal(z.object({ plan: z.object({ steps: z.int() }) }).parse(JSON.parse(json.stdout)).plan.steps, 6);
    assert.ok(!existsSync(tiny.path('run')));
  });

  test('trains; the results stand on stdout, the rest on stderr; a second run into the folder is refused', async () => {
    const first = await gleaner(['train', recipePath]);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /held out/);
    assert.match(first.stdout, /next:\n {2}gleaner generate --model/);
    assert.match(first.stderr, /24 of 24 rows/);
    const second = await gleaner(['train', recipePath]);
    assert.equal(second.code, 2);
    assertOneMessage(second, /holds a run already[\s\S]*--overwrite/);
    const json = await gleaner(['train', recipePath, '--overwrite', '--json', '--set', 'method=sft']);
    assert.equal(json.code, 0, json.stderr);
    assert.equal(z.object({ final: z.string() }).parse(JSON.parse(json.stdout)).final, tiny.path('run', 'final'));
  });

  test('a wrong recipe, missing data, a damaged row: 2, with file, line and key', async () => {
    writeFileSync(tiny.path('wrong.yaml'), `${stringify(tiny.recipe)}learning_rate: 3\n`);
    const recipe = await gleaner(['train', tiny.path('wrong.yaml')]);
    assert.equal(recipe.code, 2);
    assertOneMessage(recipe, /wrong\.yaml:\d+: unknown key learning_rate/);
    writeFileSync(tiny.path('damaged.jsonl'), `${JSON.stringify(tinyRow(0))}\n{"prompt": "x", "respnse": 3}\n`);
    const [missing, damaged, none] = await Promise.all([
      gleaner(['train', recipePath, '--set', 'data.train=nowhere.jsonl', '--set', `output=${tiny.path('o1')}`]),
      gleaner([
        'train',
        recipePath,
        '--set',
        `data.train=${tiny.path('damaged.jsonl')}`,
        '--set',
        `output=${tiny.path('o2')}`,
      ]),
      gleaner(['train', tiny.path('nowhere.yaml')]),
    ]);
    assert.deepEqual([missing.code, damaged.code, none.code], [2, 2, 2]);
    assertOneMessage(missing, /nowhere\.jsonl/);
    assertOneMessage(damaged, /damaged\.jsonl:2/);
    assertOneMessage(none, /nowhere\.yaml/);
  });

  test('a reader of the progress that goes away does not end the training', async () => {
    const output = tiny.path('unwatched');
    const ended = await gleaner(['train', recipePath, '--set', `output=${output}`], { leaveStderr: true });
    assert.equal(ended.code, 0);
    assert.ok(existsSync(`${output}/final/model.safetensors`));
  });

  test('a folder that cannot be written is 1', async () => {
    writeFileSync(tiny.path('plain'), '');
    const ended = await gleaner(['train', recipePath, '--set', `output=${tiny.path('plain', 'run')}`]);
    assert.equal(ended.code, 1);
    assertOneMessage(ended, /plain/);
  });

  test('SIGINT: a checkpoint, the command that goes on from it, 130; that command ends the run as if nothing had been', async () => {
    const sets = [
      '--set',
      `output=${tiny.path('long')}`,
      '--set',
      'irft.steps_per_round=60',
      '--set',
      'evaluation.every=5',
    ];
    let sent = false;
    const ended = await gleaner(['train', recipePath, ...sets], {
      onStderr: (text, kill) => {
        if (!sent && /step 10: held-out/.test(text)) {
          sent = true;
          kill('SIGINT');
        }
      },
    });
    assert.equal(ended.code, 130, ended.stderr);
    const folder = /the policy as it was then: (.*)/.exec(ended.stderr)?.[1];
    assert.ok(folder !== undefined && existsSync(`${folder}/model.safetensors`), ended.stderr);
    const next = /go on with: gleaner (.*)/.exec(ended.stderr)?.[1]?.split(' ') ?? [];
    assert.deepEqual(next, ['train', recipePath, ...sets, '--resume']);
    const [resumed, whole] = await Promise.all([
      gleaner(next),
      gleaner(['train', recipePath, ...sets, '--set', `output=${tiny.path('unbroken')}`]),
    ]);
    assert.equal(resumed.code, 0, resumed.stderr);
    assert.match(resumed.stderr, /going on with the run in .* after step \d+/);
    assert.match(resumed.stdout, /report +\/.*report\.html/);
    assert.equal(whole.code, 0, whole.stderr);
    assert.deepEqual(runFiles(tiny.path('long')), runFiles(tiny.path('unbroken')));
  });
});

suite('gleaner generate and score', (test) => {
  const model = () => tiny.path('run', 'final');

  test('rows of a file: JSONL on stdout, or a file, the same for the same seed', async () => {
    const args = ['generate', '--model', model(), '--data', tiny.path('ids.jsonl'), '--max-new-tokens', '6'];
    const [out, file, other] = await Promise.all([
      gleaner(args),
      gleaner([...args, '--out', tiny.path('answers', 'a.jsonl')]),
      gleaner([...args, '--seed', '7']),
    ]);
    assert.equal(out.code, 0, out.stderr);
    const rows = out.stdout
      .trimEnd()
      .split('\n')
      .map((line) => answerShape.parse(JSON.parse(line)));
    assert.deepEqual(
      rows.map((row) => row.id),
      ['row 0', 'row 1', 'row 2'],
    );
    assert.ok(rows.every((row) => row.response_ids.length >= 1 && row.response_ids.length <= 6));
    assert.equal(file.code, 0);
    assert.equal(file.stdout, '');
    assert.equal(readFileSync(tiny.path('answers', 'a.jsonl'), 'utf8'), out.stdout);
    assert.notEqual(other.stdout, out.stdout);
  });

  test('several answers to a prompt are numbered and differ', async () => {
    const ended = await gleaner([
      'generate',
      '--model',
      model(),
      '--data',
      tiny.path('ids.jsonl'),
      '--num',
      '3',
      '--temperature',
      '2',
      '--max-new-tokens',
      '8',
      '--json',
    ]);
    assert.equal(ended.code, 0, ended.stderr);
    const { rows } = z
      .object({ rows: z.array(answerShape.extend({ sample: z.int() })) })
      .parse(JSON.parse(ended.stdout));
    assert.deepEqual(
      rows.map((row) => row.sample),
      [0, 1, 2, 0, 1, 2, 0, 1, 2],
    );
    assert.ok(new Set(rows.slice(0, 3).map((row) => row.response_ids.join())).size > 1);
  });

  test('score gives what generate said of its own text', async () => {
    const data = ['--data', tiny.path('ids.jsonl')];
    const generated = await gleaner([
      'generate',
      '--model',
      model(),
      ...data,
      '--max-new-tokens',
      '6',
      '--temperature',
      '0',
    ]);
    writeFileSync(tiny.path('generated.jsonl'), generated.stdout);
    const scored = await gleaner(['score', '--model', model(), '--data', tiny.path('generated.jsonl'), '--json']);
    assert.equal(scored.code, 0, scored.stderr);
    const { rows } = z
      .object({ rows: z.array(z.object({ logprob: z.number(), num_tokens: z.int(), greedy: z.boolean() })) })
      .parse(JSON.parse(scored.stdout));
    const said = generated.stdout
      .trimEnd()
      .split('\n')
      .map((line) => answerShape.parse(JSON.parse(line)));
    for (const [place, row] of rows.entries()) {
      assert.ok(Math.abs(row.logprob - (said[place]?.logprob ?? 0)) < 1e-4);
      assert.ok(row.greedy);
      assert.equal(row.num_tokens, said[place]?.response_ids.length);
    }
  });

  test('bad input: 2, and what to do', async () => {
    mkdirSync(tiny.path('hollow'), { recursive: true });
    writeFileSync(tiny.path('text.jsonl'), '{"prompt": "hello", "response": "there"}\n');
    const cases: [string[], RegExp][] = [
      [['generate', '--model', tiny.path('hollow'), '--prompt', 'x'], /hollow/],
      [['generate', '--model', model()], /neither --prompt nor --data/],
      [['generate', '--model', model(), '--prompt', 'x', '--data', 'y'], /both given/],
      [
        ['generate', '--model', model(), '--data', tiny.path('ids.jsonl'), '--max-new-tokens', '0'],
        /max-new-tokens[\s\S]*whole number from 1/,
      ],
      [['generate', '--model', model(), '--data', tiny.path('ids.jsonl'), '--top-p', '1.5'], /top-p[\s\S]*to 1/],
      [['generate', '--model', model(), '--data', tiny.path('ids.jsonl'), '--max-new-tokens', '100'], /positions/],
      [['generate', '--model', model(), '--prompt', 'x'], /tokenizer/],
      [['generate', '--model', model(), '--prompt', 'x', '--template', 'nope'], /template[\s\S]*chatml/],
      [['score', '--model', model(), '--data', tiny.path('text.jsonl')], /tokenizer/],
      [['score', '--model', model(), '--data', tiny.path('nowhere.jsonl')], /nowhere\.jsonl/],
      [['score', '--model', model()], /--data/],
    ];
    for (const [args, pattern] of cases) {
      const ended = await gleaner(args);
      assert.equal(ended.code, 2, `${args.join(' ')}: ${ended.code}\n${ended.stderr}`);
      assertOneMessage(ended, pattern);
    }
  });

  test('doctor tells what will be used', async () => {
    const [text, json] = await Promise.all([gleaner(['doctor']), gleaner(['doctor', '--json'])]);
    assert.equal(text.code, 0);
    assert.match(text.stdout, /kernels +(avx512|avx2|portable)/);
    assert.ok(z.object({ isa: z.string(), threads: z.int() }).safeParse(JSON.parse(json.stdout)).success);
  });
});

const data = sharedData();
if (data !== undefined) {
  suite('gleaner with a pretrained model', (test) => {
    const model = `${data}/models/stories260K`;
    const once = ['generate', '--model', model, '--prompt', 'Once upon a time', '--temperature', '0'];
    const greedy = (maxNewTokens: string, ...more: string[]) =>
      gleaner([...once, '--max-new-tokens', maxNewTokens, ...more]);

    test('generate streams text, greedy text is that of the model’s authors', async () => {
      // llama2.c's doc/stories260K.md shows the same beginning.
      const ended = await greedy('60');
      assert.equal(ended.code, 0, ended.stderr);
      assert.match(
        ended.stdout,
        /^, there was a little girl named Lily\. She loved to play outside in the park\. One day, she saw a big, red ball\./,
      );
    });

    test('what could have begun a stop text is streamed too, once the answer ends without it', async () => {
      const ended = await greedy('10', '--stop', 'Lily and Tom');
      assert.equal(ended.stdout, ', there was a little girl named Lily\n');
    });

    test('a stop text ends the answer before it', async () => {
      const ended = await greedy('60', '--stop', 'park. One', '--json');
      const { rows } = z.object({ rows: z.array(answerShape) }).parse(JSON.parse(ended.stdout));
      assert.equal(rows[0]?.finish_reason, 'stop');
      assert.equal(rows[0]?.response, ', there was a little girl named Lily. She loved to play outside in the ');
    });

    test('score: nats per token of held-out stories as transformers measures them', async () => {
      const ended = await gleaner([
        'score',
        '--model',
        model,
        '--data',
        `${data}/demo/tinystories_dev.jsonl`,
        '--limit',
        '40',
        '--json',
      ]);
      const scored = z.object({ nats_per_token: z.number() }).parse(JSON.parse(ended.stdout));
      assert.ok(scored.nats_per_token > 1.2 && scored.nats_per_token < 1.5, `${scored.nats_per_token}`);
    });
  });
}
