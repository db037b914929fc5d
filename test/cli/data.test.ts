// gleaner data import and inspect, as typed: what they print where, how they end, and how an import goes on.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { contents, root, tokenizerFolder, writeRows } from '../support/import.js';
import { sharedData, suite } from '../support/suite.js';
import { temporaryFolder } from '../support/tiny_run.js';

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** `when` the file exists, the signal is sent. */
function gleaner(
  args: readonly string[],
  kill?: { signal: NodeJS.Signals; when: string; delay?: number },
): Promise<Ended> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['bin/gleaner.mjs', 'data', ...args], { cwd: root });
    const ended: Ended = { code: null, signal: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      ended.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      ended.stderr += text;
    });
    const watch = setInterval(() => {
      if (kill === undefined || !existsSync(kill.when)) return;
      clearInterval(watch);
      setTimeout(() => child.kill(kill.signal), kill.delay ?? 0);
    }, 2);
    child.on('close', (code, signal) => {
      clearInterval(watch);
      resolve({ ...ended, code, signal });
    });
  });
}

const folder = temporaryFolder();
const at = (...parts: string[]) => join(folder, ...parts);
const source = writeRows(at('rows.jsonl'), 1500);
const tokenizer = ['--tokenizer', tokenizerFolder];

function assertOneMessage({ stderr }: Ended, pattern: RegExp): void {
  assert.match(stderr, pattern);
  assert.ok(!/\n\s+at /.test(stderr), `a stack trace for a user's mistake:\n${stderr}`);
}

suite('gleaner data', (test) => {
  test('--help of each, with an example', async () => {
    for (const args of [['--help'], ['import', '--help'], ['inspect', '--help']]) {
      const { code, stdout } = await gleaner(args);
      assert.equal(code, 0);
      assert.match(stdout, /Examples?:\n {2}gleaner data /);
    }
    const unknown = await gleaner(['imprt']);
    assert.equal(unknown.code, 2);
    assertOneMessage(unknown, /unknown command 'imprt'[\s\S]*import/);
  });
});

suite('gleaner data import', (test) => {
  test('says what it recognised, writes the files and a summary; again it is up to date', async () => {
    const args = ['import', source, ...tokenizer, '--out', at('out')];
    const first = await gleaner(args);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /rows.jsonl: JSON lines/);
    assert.match(first.stdout, /rows +1484 of 1500/);
    assert.match(first.stdout, /empty_response +16, first row row 13/);
    assert.deepEqual(Object.keys(contents(at('out'))), ['data-00000-of-00001.arrow', 'summary.json']);
    const again = await gleaner([...args, '--json']);
    assert.equal(again.code, 0);
    const { status, summary } = z
      .object({ status: z.string(), summary: z.object({ counts: z.object({ kept: z.int() }) }) })
      .parse(JSON.parse(again.stdout));
    assert.deepEqual([status, summary.counts.kept], ['up_to_date', 1484]);
  });

  test('a changed source or setting is named, exit code 2; --overwrite starts anew', async () => {
    const changed = writeRows(at('changed.jsonl'), 30);
    const args = ['import', changed, ...tokenizer, '--out', at('changed')];
    assert.equal((await gleaner(args)).code, 0);
    appendFileSync(changed, '{"text": "one row more"}\n');
    const refused = await gleaner(args);
    assert.equal(refused.code, 2);
    assertOneMessage(refused, /changed.jsonl changed since the import that began here\nhint: Pass --overwrite/);
    const other = await gleaner([...args, '--max-length', '40']);
    assertOneMessage(other, /max_length is 40: the import that began here has none/);
    assert.equal((await gleaner([...args, '--overwrite', '--max-length', '40'])).code, 0);
  });

  test('Ctrl-C ends with 130, and the same command goes on; kill -9 too; the bytes are those of one that was never broken off', async () => {
    const large = writeRows(at('large.jsonl'), 10_000);
    const args = (out: string) => ['import', large, ...tokenizer, '--out', at(out), '--workers', '1'];
    const whole = gleaner(args('unbroken'));
    const journal = at('broken', 'journal.json');
    const stopped = await gleaner(args('broken'), { signal: 'SIGINT', when: journal });
    assert.equal(stopped.code, 130, stopped.stderr);
    assert.match(stopped.stderr, /interrupted/);
    assert.ok(existsSync(journal));
    const killed = await gleaner(args('broken'), { signal: 'SIGKILL', when: journal, delay: 700 });
    const last = await gleaner(args('broken'));
    assert.equal(last.code, 0, last.stderr);
    if (killed.signal === 'SIGKILL') assert.match(last.stderr, /going on behind row \d+ of an import/);
    assert.equal((await whole).code, 0);
    assert.deepEqual(contents(at('broken')), contents(at('unbroken')));
  });

  test('mistakes end with 2 and one message', async () => {
    writeFileSync(at('bad.jsonl'), '{"prompt": "a", "response": " b"}\n{"prompt": "a"\n');
    const cases: [args: string[], message: RegExp][] = [
      [[source, '--out', at('x')], /required option '--tokenizer <dir>'/],
      [[at('bad.jsonl'), ...tokenizer, '--out', at('x1')], /bad.jsonl:2: not JSON/],
      [[at('lost.jsonl'), ...tokenizer, '--out', at('x2')], /lost.jsonl: there is no such file/],
      [[source, '--tokenizer', at('lost'), '--out', at('x3')], /tokenizer.json: there is no such file/],
      [[source, ...tokenizer, '--out', source], /rows.jsonl is a file/],
      [
        [source, ...tokenizer, '--out', at('x4'), '--max-prompt-length', '9'],
        /--max-prompt-length without --max-length/,
      ],
      [[source, ...tokenizer, '--out', at('x5'), '--bos', 'always'], /bos: always, but this tokenizer has no BOS/],
      [[source, ...tokenizer, '--out', at('x6'), '--format', 'csv'], /--format.*csv.*Allowed choices/],
    ];
    const ends = await Promise.all(cases.map(([args]) => gleaner(['import', ...args])));
    for (const [place, end] of ends.entries()) {
      assertOneMessage(end, cases[place]?.[1] ?? /^$/);
      assert.equal(end.code, 2, end.stderr);
    }
    const full = await gleaner(['import', source, ...tokenizer, '--out', '/proc/gleaner']);
    assert.equal(full.code, 1);
    assertOneMessage(full, /\/proc\/gleaner: cannot be written[\s\S]*hint: Check the free space/);
  });
});

suite('gleaner data inspect', (test) => {
  test('marks what is trained, without colours where nobody sees them', async () => {
    const { code, stdout, stderr } = await gleaner([
      'inspect',
      source,
      ...tokenizer,
      '--rows',
      '1',
      '--max-length',
      '40',
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /rows.jsonl +JSON lines/);
    assert.match(stdout, /⟦.*<\|end\|>⟧/);
    assert.match(stdout, /EOS appended: the answer ends there/);
    assert.match(stdout, /duplicates\n {2}same row/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with it
    assert.ok(!/\u001b/.test(stdout));
  });

  test('of an import without a tokenizer; --eval finds leaks; --json is one object', async () => {
    const { code, stdout, stderr } = await gleaner([
      'inspect',
      at('out'),
      '--eval',
      at('out'),
      '--json',
      '--rows',
      '1',
    ]);
    assert.equal(code, 0, stderr);
    const found = z
      .object({
        imported: z.object({ counts: z.object({ read: z.int() }) }),
        leaks: z.object({ eval_rows: z.int(), same_row: z.object({ rows: z.int() }) }),
        rows: z.array(z.object({ id: z.string() })),
      })
      .parse(JSON.parse(stdout));
    assert.deepEqual(
      [found.imported.counts.read, found.leaks.eval_rows, found.leaks.same_row.rows],
      [1500, 1484, 1484],
    );
    assert.equal(found.rows[0]?.id, 'row 0 é');
    const text = await gleaner(['inspect', source]);
    assert.equal(text.code, 2);
    assertOneMessage(text, /there is no tokenizer/);
  });

  const data = sharedData();
  if (data !== undefined) {
    test('HH, chats and stories are imported and inspected with their tokenizers', async () => {
      const sets: [file: string, tokenizer: string][] = [
        ['hh/helpful-train2000.jsonl.gz', 'tokenizers/pythia'],
        ['chat/dolly_2000.jsonl', 'tokenizers/mistral'],
        ['chat/hh_multiturn_1500.jsonl', 'tokenizers/zephyr'],
        ['demo/tinystories_dev.jsonl', 'models/stories260K'],
      ];
      for (const [place, [file, folderOfTokenizer]] of sets.entries()) {
        const vocabulary = ['--tokenizer', join(data, folderOfTokenizer)];
        const out = at(`shared-${place}`);
        const made = await gleaner([
          'import',
          join(data, file),
          ...vocabulary,
          '--out',
          out,
          '--limit',
          '60',
          '--json',
        ]);
        assert.equal(made.code, 0, made.stderr);
        const seen = await gleaner(['inspect', out, ...vocabulary, '--rows', '1']);
        assert.equal(seen.code, 0, seen.stderr);
        assert.match(seen.stdout, /rows +\d+ of \d+ \(\d+ ids\)/);
        assert.match(seen.stdout, /⟦/);
      }
    });
  }
});
