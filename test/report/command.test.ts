// gleaner report as a person types it.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

function gleaner(cwd: string, ...args: string[]) {
  return spawnSync(process.execPath, ['--import', import.meta.resolve('tsx'), main, 'report', ...args], {
    cwd,
    encoding: 'utf8',
  });
}

function runFolder(): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'recipe.yaml'), 'name: a\nmethod: sft\n');
  writeFileSync(join(folder, 'metrics.jsonl'), '{"step":1,"loss":0.5}\n');
  return folder;
}

suite('gleaner report', (test) => {
  test('of one run goes into its folder; the path is all that is printed', () => {
    const folder = runFolder();
    const { status, stdout, stderr } = gleaner(folder, '.');
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /^report\.html\nopen it in a browser: file:\/\//);
    assert.match(readFileSync(join(folder, 'report.html'), 'utf8'), /<h1>a<\/h1>/);
    assert.equal(gleaner(folder, '.').status, 0); // its own page is written anew
  });

  test('of several runs goes into the current folder, or where --out says', () => {
    const [one, two, here] = [runFolder(), runFolder(), temporaryFolder()];
    assert.equal(gleaner(here, one, two).status, 0);
    assert.match(readFileSync(join(here, 'report.html'), 'utf8'), /2 runs compared/);
    const { status, stdout } = gleaner(here, one, two, '--out', 'new/folder/page.html', '--json');
    assert.equal(status, 0);
    const { out, runs } = z
      .looseObject({
        out: z.string(),
        runs: z.array(z.looseObject({ step: z.number(), metrics: z.looseObject({ loss: z.number() }) })),
      })
      .parse(JSON.parse(stdout));
    assert.equal(out, 'new/folder/page.html');
    assert.deepEqual(
      runs.map(({ step, metrics }) => [step, metrics.loss]),
      [
        [1, 0.5],
        [1, 0.5],
      ],
    );
    assert.ok(existsSync(join(here, out)));
  });

  test('mistakes: no run, a page of somebody else’s', () => {
    const folder = runFolder();
    const refused = (pattern: RegExp, ...args: string[]) => {
      const { status, stderr } = gleaner(folder, ...args);
      assert.equal(status, 2, stderr);
      assert.match(stderr, pattern);
      assert.ok(!/\n\s+at /.test(stderr), 'a stack trace');
    };
    refused(/missing required argument 'run'/);
    refused(/nowhere does not exist\nhint: Name the output folder of a run/, 'nowhere');
    writeFileSync(join(folder, 'report.html'), '<p>mine</p>');
    refused(/is no report of gleaner\nhint: Pass --out FILE/, '.');
    assert.equal(readFileSync(join(folder, 'report.html'), 'utf8'), '<p>mine</p>');
  });
});
