// What the commands leave behind when a row, the user or the terminal ends them. What they say is compared in test/docs/troubleshooting.slow.test.ts.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { z } from 'zod';
import { suite } from '../support/suite.js';
import { temporaryFolder, tinyRun } from '../support/tiny_run.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const model = join(root, 'examples/quickstart/base/1');

interface Ended {
  code: number | null;
  stderr: string;
}

/** Sends the signal once `ready` says so, which is asked after every word on stderr and every 20 ms. */
function gleaner(
  args: readonly string[],
  signal?: NodeJS.Signals,
  ready?: (stderr: string) => boolean,
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'bin/gleaner.mjs'), ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    let sent = false;
    const look = () => {
      if (sent || !signal || !ready?.(stderr)) return;
      sent = true;
      child.kill(signal);
    };
    const timer = setInterval(look, 20);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      look();
    });
    child.on('close', (code) => {
      clearInterval(timer);
      resolve({ code, stderr });
    });
  });
}

const rowShape = z.object({ id: z.string(), logprob: z.number() });
function rowsOf(path: string) {
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
  return lines.map((line) => rowShape.parse(JSON.parse(line)));
}

const folder = temporaryFolder();
const demonstrations = readFileSync(join(root, 'examples/quickstart/data/demonstrations-1-clean.jsonl'), 'utf8')
  .trimEnd()
  .split('\n');

suite('work that ends early', (test) => {
  test('SIGHUP ends training as Ctrl-C does: saved, 130', async () => {
    const tiny = tinyRun();
    const recipe = { ...tiny.recipe, irft: { steps_per_round: 100_000 }, evaluation: { every: 5 } };
    writeFileSync(tiny.path('recipe.yaml'), stringify(recipe));
    const ended = await gleaner(['train', tiny.path('recipe.yaml')], 'SIGHUP', (text) =>
      /step 10: held-out/.test(text),
    );
    assert.equal(ended.code, 130, ended.stderr);
    assert.ok(existsSync(tiny.path('run/checkpoints')), ended.stderr);
  });

  test('score: the rows before one that is too long stand in FILE.part', async () => {
    const data = join(folder, 'long.jsonl');
    const long = JSON.stringify({ prompt: 'Shelf: ', response: ' peas'.repeat(300) });
    writeFileSync(data, [...demonstrations.slice(0, 5), long, ...demonstrations.slice(5, 9)].join('\n'));
    const out = join(folder, 'scores.jsonl');
    const ended = await gleaner(['score', '--model', model, '--data', data, '--out', out]);
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /5 rows written before that: .*scores\.jsonl\.part\n/);
    assert.ok(!existsSync(out));
    assert.equal(rowsOf(`${out}.part`).length, 5);
  });

  test('generate: Ctrl-C keeps the answers that are whole', async () => {
    const data = join(folder, 'many.jsonl');
    writeFileSync(data, demonstrations.join('\n'));
    const out = join(folder, 'answers.jsonl');
    const args = ['generate', '--model', model, '--data', data, '--num', '400', '--out', out, '--threads', '1'];
    const ended = await gleaner(
      args,
      'SIGINT',
      () => existsSync(`${out}.part`) && readFileSync(`${out}.part`).length > 0,
    );
    assert.equal(ended.code, 130, ended.stderr);
    const count = Number(/(\d+) rows written before that/.exec(ended.stderr)?.[1]);
    assert.ok(count > 0);
    assert.equal(rowsOf(`${out}.part`).length, count);
  });
});
