// The bench's file: read back as written, gone on with only where nothing changed; its table, its plots and the page they go into.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { filled, plotsOf, writeDocs } from '../../bench/docs.js';
import { type CurveRow, type FiguresRow, readReport, rowsToKeep, writeReport } from '../../bench/results.js';
import { settings, withoutPaths } from '../../bench/settings.js';
import { table } from '../../bench/table.js';
import { suite } from '../support/suite.js';
import { report, round, row } from './fakes.js';

const curve: CurveRow = {
  kind: 'curve',
  name: 'lengths',
  group: 'curves',
  about: 'tokens/s by <length>',
  threads: 2,
  seconds: 1,
  x: { label: 'tokens', log: true },
  y: { label: 'tokens/s' },
  lines: [
    {
      name: '14m',
      points: [64, 256, 4096].map((x) => ({ x, y: 5000 - x, min: 4800 - x, max: 5200 - x, expected: 5100 - x })),
    },
  ],
};
const figures: FiguresRow = {
  kind: 'figures',
  name: 'memory',
  group: 'memory',
  about: 'memory',
  threads: 2,
  seconds: 1,
  figures: [{ name: 'peak', unit: 'bytes', ours: 4e8, peers: { torch: 2e9 }, at_most: 4.5e8 }],
};
const rounds = [round(1, 4), round(1, 5), round(1, 3)];
const whole = report([row(rounds), curve, figures]);

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'gleaner-test-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

suite('bench: results', (test) => {
  test('a report is read back as it was written; another file is refused by name', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'a', 'results.json');
      await writeReport(file, whole);
      assert.deepEqual(JSON.parse(JSON.stringify(await readReport(file))), JSON.parse(JSON.stringify(whole)));
      await writeFile(file, '{"date": 1}');
      await assert.rejects(readReport(file), /results\.json: not the bench's results: date/);
      await assert.rejects(readReport(join(folder, 'none')), /there is no such file/);
    }));

  test('an unfinished run of the same code and machine goes on; any change begins anew', () =>
    inFolder(async (folder) => {
      const file = join(folder, 'results.json');
      const kept = async (now: Partial<typeof whole>, asked = false) =>
        (await rowsToKeep(file, { ...whole, rows: [], ...now }, asked)).rows.length;
      assert.equal(await kept({}), 0);
      await writeReport(file, whole);
      assert.equal(await kept({}), 3);
      assert.equal(await kept({ commit: 'def' }, true), 0);
      assert.equal(await kept({ rounds: 3 }), 0);
      assert.equal(await kept({ python: false }), 0);
      assert.equal(await kept({ machine: { ...whole.machine, isa: 'avx512' } }), 0);
      await writeReport(file, { ...whole, finished: true });
      assert.equal(await kept({}), 0);
      assert.equal(await kept({}, true), 3);
      await writeReport(file, { ...whole, commit: 'abc with changes' });
      assert.equal(await kept({ commit: 'abc with changes' }), 0);
      assert.equal(await kept({ commit: 'abc with changes' }, true), 3);
    }));

  test('the table has a line a side, says what missed its goal, and no ratio without agreement', () => {
    const text = table(whole.rows);
    assert.match(text, /torch.*4\.00 \[3\.00–5\.00\].*2× ✓.*✓ loss 1e-6/);
    assert.match(text, /peak.*400 MB.*≤ 450 MB ✓/);
    const slow = table([row([round(2, 3)])]);
    assert.match(slow, /2× missed/);
    const wrong = table([row(rounds, 'sft', { checks: { torch: { differences: { loss: 1 }, agrees: false } } })]);
    assert.doesNotMatch(wrong, /4\.00/);
    assert.match(wrong, /✗ loss 1e\+0: no ratio/);
    assert.match(table([row(rounds, 'sft', { missing: { torch: 'no --python' } })]), /no ratio: no --python/);
  });

  test('docs: a marker gets its group, prose and other groups stay', () =>
    inFolder(async (folder) => {
      const page = `# P\n<!-- bench:sft -->\nold\n<!-- /bench -->\nprose\n<!-- bench:other -->\nkept\n<!-- /bench -->\n`;
      const text = filled(page, whole);
      assert.match(text, /^# P\n<!-- bench:sft -->\n\n\| case \|/);
      assert.match(text, /4\.00 \[3\.00–5\.00\]/);
      assert.match(text, /prose\n<!-- bench:other -->\nkept\n/);
      assert.equal(filled(text, whole), text);
      const file = join(folder, 'performance.md');
      await writeFile(file, page);
      const written = await writeDocs(whole, file);
      assert.equal(written.length, 3);
      assert.match(await readFile(join(folder, 'performance', 'lengths-2.svg'), 'utf8'), /^<svg/);
      await writeFile(file, 'no markers');
      await assert.rejects(writeDocs(whole, file), /has no <!-- bench:GROUP -->/);
    }));

  test('plots are whole: no number is missing, names are escaped, expected curves are dashed', () => {
    const plots = plotsOf(whole);
    assert.deepEqual([...plots.keys()], ['sft.svg', 'lengths-2.svg']);
    for (const svg of plots.values()) assert.doesNotMatch(svg, /NaN|undefined|Infinity|<length>/);
    assert.match(plots.get('lengths-2.svg') ?? '', /stroke-dasharray/);
    assert.match(plots.get('sft.svg') ?? '', /<rect/);
  });

  test('the command line: groups, quick cases, whole numbers; paths stay out of what is written', () => {
    const { x, y, lines } = curve;
    const one = {
      kind: 'curve',
      name: 'lengths',
      group: 'curves',
      about: '',
      x,
      y,
      measure: async () => lines,
    } as const;
    const known = [
      { ...one, quick: true },
      { ...one, name: 'b', group: 'g' },
    ];
    const names = (args: string[]) => settings(args, known).chosen.map(({ name }) => name);
    assert.deepEqual(names([]), ['lengths', 'b']);
    assert.deepEqual(names(['--quick']), ['lengths']);
    assert.deepEqual(names(['--only', 'g', '--quick']), ['b']);
    assert.equal(settings(['--quick'], known).rounds, 3);
    assert.throws(() => settings(['--only', 'c'], known), /no case or group c/);
    assert.throws(() => settings(['--rounds', '0'], known), /--rounds is 0/);
    assert.deepEqual(withoutPaths(['--python', '/a/b', '--json=/c', '--quick']), [
      '--python',
      'PATH',
      '--json=PATH',
      '--quick',
    ]);
  });
});
