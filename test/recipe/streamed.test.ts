// Rows of ids in Arrow files are trained on as the same rows in JSON lines are, bit by bit, and a run over them can be gone on with.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { tableToIPC } from 'apache-arrow';
import { ids, tableOf, text } from '../../src/output/columns.js';
import { run } from '../../src/recipe/run.js';
import type { RecipeInput } from '../../src/recipe/schema.js';
import { metricsOf, runFiles } from '../support/run_files.js';
import { assertRejects, suite } from '../support/suite.js';
import { type TinyRun, tinyRow, tinyRun } from '../support/tiny_run.js';

type Row = ReturnType<typeof tinyRow>;
const columns = {
  id: text((row: Row) => row.id),
  prompt_ids: ids((row: Row) => row.prompt_ids),
  response_ids: ids((row: Row) => row.response_ids),
} as const;

/** The tiny run's demonstrations in an Arrow file. */
function arrowRows(tiny: TinyRun, count: number): string {
  const rows = Array.from({ length: count }, (_, row) => tinyRow(row));
  const path = tiny.path('train.arrow');
  writeFileSync(path, tableToIPC(tableOf(columns, rows), 'stream'));
  return path;
}

suite('demonstrations in Arrow files', (test) => {
  for (const method of ['sft', 'irft'] as const) {
    test(`${method}: the same run as from JSON lines, also where rows are cut; interrupted and gone on with, too`, async () => {
      const tiny = tinyRun(24);
      const recipe: RecipeInput = {
        ...tiny.recipe,
        method,
        data: { ...tiny.recipe.data, max_length: 11, max_prompt_length: 8 },
        generation: { max_new_tokens: 3 },
      };
      const streamed = {
        ...recipe,
        data: { ...recipe.data, train: arrowRows(tiny, 24) },
        output: tiny.path('streamed'),
      };
      await run(recipe);
      await run(streamed);
      assert.deepEqual(runFiles(tiny.path('streamed')), runFiles(tiny.path('run')));

      const controller = new AbortController();
      const broken = { ...streamed, output: tiny.path('broken') };
      await assertRejects(
        () => run(broken, { signal: controller.signal, onMetrics: ({ step }) => step === 2 && controller.abort() }),
        'ABORT_ERR',
      );
      await run(broken, { resume: true });
      assert.deepEqual(runFiles(tiny.path('broken')), runFiles(tiny.path('run')));
      assert.ok(metricsOf(tiny.path('run')).length > 3);
    });
  }

  test('mixed with other files, or ids beyond the vocabulary: refused by name', async () => {
    const tiny = tinyRun(24);
    const arrow = arrowRows(tiny, 24);
    const data = { ...tiny.recipe.data, train: [arrow, tiny.path('train.jsonl')] };
    await assertRejects(
      () => run({ ...tiny.recipe, data }),
      'ERR_GLEANER_DATA',
      /mixes files of token ids.*train\.jsonl/,
    );
    const rows = [{ id: 'a', prompt_ids: [1], response_ids: [99, 2] }];
    writeFileSync(arrow, tableToIPC(tableOf(columns, rows), 'stream'));
    await assertRejects(
      () => run({ ...tiny.recipe, method: 'sft', data: { ...data, train: arrow } }),
      'ERR_GLEANER_DATA',
      /99/,
    );
  });
});
