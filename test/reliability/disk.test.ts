// What happens to a run when the disk is full or may not be written: one clear error, and the last checkpoint is whole.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../src/recipe/run.js';
import type { RecipeInput } from '../../src/recipe/schema.js';
import { runFiles } from '../support/run_files.js';
import { assertRejects, suite } from '../support/suite.js';
import { tinyRun } from '../support/tiny_run.js';

const mounts: string[] = [];
process.prependListener('exit', () => {
  for (const path of mounts.reverse()) spawnSync('umount', [path], { stdio: 'ignore' });
});

/** A file system of its own; undefined where this user may not mount one. */
function smallDisk(path: string, kilobytes: number): string | undefined {
  mkdirSync(path);
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'none', path]);
  if (status !== 0) return undefined;
  mounts.push(path);
  return path;
}

const canMount = smallDisk(tinyRun().path('probe'), 64) !== undefined;

suite('a disk', (test) => {
  if (!canMount) {
    test.skip('that is full or becomes read-only', 'this user may not mount a small disk');
    return;
  }
  const recipeOn = (disk: string, tiny: ReturnType<typeof tinyRun>): RecipeInput => ({
    ...tiny.recipe,
    output: join(disk, 'run'),
    checkpoint: { every: 1, keep: 2 },
  });

  test('that is full in the middle of a run: an error that names the file; with room again the run goes on as it was', async () => {
    const tiny = tinyRun();
    const disk = smallDisk(tiny.path('disk'), 4096) ?? '';
    const recipe = recipeOn(disk, tiny);
    const ballast = join(disk, 'ballast');
    await assertRejects(
      () =>
        run(recipe, {
          onMetrics: (record) => {
            if (record.step === 4 && 'loss' in record) spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=1k']);
          },
        }),
      'ERR_GLEANER_DISK',
      /disk\/run\/.*ENOSPC|disk\/run\/.*no space/i,
    );
    assert.ok(readdirSync(join(disk, 'run', 'checkpoints')).includes('step-3'));
    writeFileSync(ballast, '');
    await run(recipe, { resume: true });
    await run({ ...recipe, output: tiny.path('whole') });
    assert.deepEqual(runFiles(join(disk, 'run')), runFiles(tiny.path('whole')));
  });

  test('that becomes read-only: an error that names the checkpoint, and the one before it is whole', async () => {
    const tiny = tinyRun();
    const recipe = recipeOn(tiny.path('disk'), tiny);
    const checkpoints = join(tiny.path('disk'), 'run', 'checkpoints');
    await assertRejects(
      () =>
        run(recipe, {
          onMetrics: (record) => {
            if (record.step !== 4 || !('loss' in record)) return;
            spawnSync('mount', ['--bind', checkpoints, checkpoints]);
            mounts.push(checkpoints);
            spawnSync('mount', ['-o', 'remount,bind,ro', checkpoints]);
          },
        }),
      'ERR_GLEANER_DISK',
      /step-4.*may only be read/,
    );
    assert.deepEqual(readdirSync(checkpoints), ['step-2', 'step-3']);
    spawnSync('umount', [checkpoints]);
    await run(recipe, { resume: true });
    await run({ ...recipe, output: tiny.path('whole') });
    assert.deepEqual(runFiles(recipe.output ?? ''), runFiles(tiny.path('whole')));
  });
});
