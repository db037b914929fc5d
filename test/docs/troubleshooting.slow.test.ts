// docs/troubleshooting.md says what gleaner prints. UPDATE=1 writes the tables anew from what it prints now.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorCodes } from '../../src/common/errors.js';
import { suite } from '../support/suite.js';
import { type BadInput, badInputsFolder, sections } from './bad_inputs.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const document = join(root, 'docs/troubleshooting.md');
const update = process.env.UPDATE === '1';
const AT_ONCE = 2;

interface Ended {
  code: number | null;
  stderr: string;
}

/** root may write everywhere: without these rights it is refused as everybody is. */
const unprivileged = ['setpriv', '--bounding-set=-dac_override,-dac_read_search,-fowner'];

function gleaner(folder: string, args: readonly string[], { limited = false } = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const prefix = limited && process.getuid?.() === 0 ? unprivileged : [];
    const [command = '', ...rest] = [...prefix, process.execPath, join(root, 'bin/gleaner.mjs'), ...args];
    const env = { ...process.env, GLEANER_ISA: 'portable' }; // the same bytes are planned everywhere
    const child = spawn(command, rest, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'], env });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stderr }));
  });
}

const shown = (args: readonly string[]): string =>
  ['gleaner', ...args.map((arg) => (/^[\w./=,:-]+$/.test(arg) ? arg : `'${arg}'`))].join(' ');
const cell = (text: string): string => text.trimEnd().replaceAll('|', '\\|').replaceAll('\n', '<br>');
/** Text that markdown leaves as it is. */
const literal = (text: string): string => cell(text.replace(/[<>*_`[\]]/g, (character) => `\\${character}`));

interface Outcome {
  input: BadInput;
  ended: Ended;
  message: string;
}

/** Message and hint alone, and nothing that differs from run to run: a time in a file's name, or what newer Nodes say of JSON. */
const plain = (message: string): string =>
  (/^[\s\S]*?\nhint: .*$/m.exec(message)?.[0] ?? message)
    .replace(/ \(line \d+ column \d+\)/g, '')
    .replace(/(tfevents)\.\d+\.[\w.-]+/g, '$1');

async function outcome(folder: string, input: BadInput): Promise<Outcome> {
  if (input.before) assert.equal((await gleaner(folder, input.before)).code, 0, shown(input.before));
  const ended = await gleaner(folder, input.args, { limited: input.readonly !== undefined });
  const begin = ended.stderr.indexOf('error:');
  return { input, ended, message: begin < 0 ? '' : plain(ended.stderr.slice(begin)) };
}

async function outcomes(): Promise<Map<string, Outcome[]>> {
  const folder = badInputsFolder();
  const found = new Map(Object.keys(sections).map((name): [string, Outcome[]] => [name, []]));
  const queue = Object.entries(sections).flatMap(([name, inputs]) =>
    inputs.map((input, place) => async () => {
      const list = found.get(name);
      if (list) list[place] = await outcome(folder, input);
    }),
  );
  const worker = async () => {
    for (let work = queue.shift(); work; work = queue.shift()) await work();
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return found;
}

function tables(found: ReadonlyMap<string, readonly Outcome[]>): string {
  return [...found]
    .map(([name, rows]) =>
      [
        `### ${name}`,
        '',
        '| what is wrong | command | what gleaner says | exit code |',
        '| --- | --- | --- | --- |',
        ...rows.map(
          ({ input, ended, message }) =>
            `| ${input.what} | \`${cell(shown(input.args))}\` | ${literal(message)} | ${ended.code} |`,
        ),
      ].join('\n'),
    )
    .join('\n\n');
}

const marks = ['<!-- written by test/docs/troubleshooting.slow.test.ts: UPDATE=1 -->\n\n', '\n\n<!-- end -->'] as const;

suite('troubleshooting', (test) => {
  let found = new Map<string, Outcome[]>();
  test.before(async () => {
    found = await outcomes();
  });

  test('every mistake ends with 1 or 2, one message, and what to do next', () => {
    const poor = [...found.values()].flat().flatMap(({ input, ended, message }) => {
      const faults = [
        ...(ended.code === 1 || ended.code === 2 ? [] : [`exit code ${ended.code}`]),
        ...(message.startsWith('error: ') ? [] : ['no message']),
        ...(/\n\s+at |This is a fault of gleaner/.test(message) ? ['a stack trace'] : []),
        ...(message.includes('\nhint: ') ? [] : ['no hint']),
      ];
      return faults.length > 0 ? [`${shown(input.args)}: ${faults.join(', ')}\n${ended.stderr}`] : [];
    });
    assert.deepEqual(poor, []);
  });

  test('docs/troubleshooting.md has what gleaner prints', () => {
    const text = readFileSync(document, 'utf8');
    const [begin, end] = [text.indexOf(marks[0]), text.indexOf(marks[1])];
    assert.ok(begin > 0 && end > begin, 'the marks of the tables are missing');
    const wanted = `${text.slice(0, begin)}${marks[0]}${tables(found)}${text.slice(end)}`;
    if (update) writeFileSync(document, wanted);
    else assert.equal(text, wanted, 'UPDATE=1 node --import tsx test/docs/troubleshooting.slow.test.ts writes it anew');
  });

  test('every code stands in it', () => {
    const text = readFileSync(document, 'utf8');
    for (const code of errorCodes) assert.ok(text.includes(`| \`${code}\` |`), code);
  });
});
