// The bench's JSON: one row a case and thread count, with every round. Written after each row, so that a run cut short goes on.

import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import type { Figure } from './case.js';
import type { Summary } from './summary.js';

const text = z.record(z.string(), z.string());
const checks = z.record(z.string(), z.union([z.number(), z.array(z.number()).readonly()]));
const timed = z
  .object({
    seconds: z.number(),
    cpu_seconds: z.number(),
    checks,
    tokens: z.number(),
    foreign: z.number().optional(),
  })
  .transform((answer) => ({ ...answer, foreign: answer.foreign }));
const round = z.object({
  work: z.object({
    tokens: z.number(),
    flops: z.number().exactOptional(),
    bytes: z.number().exactOptional(),
    items: z.number().exactOptional(),
  }),
  ours: timed,
  peers: z.record(z.string(), timed),
  limits: z.object({
    gflops: z.number().exactOptional(),
    bf16_gflops: z.number().exactOptional(),
    read_gb_per_s: z.number().exactOptional(),
  }),
});
const goals = z.object({
  ratio: z.record(z.string(), z.number()).exactOptional(),
  share_of_peak: z.number().exactOptional(),
  share_of_bandwidth: z.number().exactOptional(),
});
const shared = {
  name: z.string(),
  group: z.string(),
  about: z.string(),
  threads: z.number(),
  /** What the whole row took, loading included. */
  seconds: z.number(),
};
const axis = z.object({ label: z.string(), log: z.boolean().exactOptional() });

const roundsRow = z.object({
  kind: z.literal('rounds'),
  ...shared,
  precision: z.enum(['fp32', 'bf16']),
  goals,
  checks: z.record(
    z.string(),
    z.object({ differences: z.record(z.string(), z.number().nullable()), agrees: z.boolean() }),
  ),
  /** Peers without a ratio, and why. */
  missing: text,
  versions: text,
  /** For readers of the file: made again from the rounds wherever it is used. */
  summary: z.custom<Summary>((value) => typeof value === 'object'),
  rounds: z.array(round),
});
const curveRow = z.object({
  kind: z.literal('curve'),
  ...shared,
  x: axis,
  y: axis,
  lines: z.array(
    z.object({
      name: z.string(),
      points: z.array(
        z.object({
          x: z.number(),
          y: z.number(),
          min: z.number(),
          max: z.number(),
          expected: z.number().exactOptional(),
        }),
      ),
    }),
  ),
});
const figuresRow = z.object({
  kind: z.literal('figures'),
  ...shared,
  figures: z.array(
    z.object({
      name: z.string(),
      unit: z.enum(['bytes', 'seconds']),
      ours: z.number(),
      peers: z.record(z.string(), z.number()),
      at_most: z.number().exactOptional(),
    }) satisfies z.ZodType<Figure>,
  ),
});
const row = z.discriminatedUnion('kind', [roundsRow, curveRow, figuresRow]);

const report = z.object({
  date: z.string(),
  machine: z.object({
    name: z.string(),
    cpu: z.string(),
    cores: z.number(),
    memory_bytes: z.number(),
    isa: z.string(),
  }),
  commit: z.string(),
  command: z.string(),
  quick: z.boolean(),
  rounds: z.number(),
  /** Whether peers ran. */
  python: z.boolean(),
  finished: z.boolean(),
  versions: text,
  rows: z.array(row),
});

export type RoundsRow = z.infer<typeof roundsRow>;
export type CurveRow = z.infer<typeof curveRow>;
export type FiguresRow = z.infer<typeof figuresRow>;
export type Row = z.infer<typeof row>;
export type Report = z.infer<typeof report>;

export class ResultsError extends Error {}

export async function readReport(file: string): Promise<Report> {
  const found = await readFile(file, 'utf8').catch(() => {
    throw new ResultsError(`${file}: there is no such file`);
  });
  let value: unknown;
  try {
    value = JSON.parse(found);
  } catch {
    throw new ResultsError(`${file}: not JSON`);
  }
  const { data, error } = report.safeParse(value);
  if (data) return data;
  const { path = [], message = '' } = error?.issues[0] ?? {};
  throw new ResultsError(`${file}: not the bench's results: ${path.join('.')}: ${message}`);
}

/** Whole or not at all: a run that is killed leaves the rows before. */
export async function writeReport(file: string, value: Report): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.part`, `${JSON.stringify(value, null, 1)}\n`);
  await rename(`${file}.part`, file);
}

/** The rows of an earlier run that this one may keep: the same code, machine and settings. Otherwise why not. */
export async function rowsToKeep(file: string, now: Report, asked: boolean): Promise<{ rows: Row[]; because: string }> {
  if (!existsSync(file)) return { rows: [], because: asked ? `${file} is not there` : '' };
  const before = await readReport(file).catch((error: unknown) => {
    if (error instanceof ResultsError) return undefined;
    throw error;
  });
  if (!before) return { rows: [], because: asked ? `${file} is of another kind` : '' };
  if (before.finished && !asked) return { rows: [], because: '' };
  const changed = [
    before.commit !== now.commit && `commit ${before.commit}`,
    (before.machine.cpu !== now.machine.cpu || before.machine.isa !== now.machine.isa) && 'another machine',
    before.quick !== now.quick && 'another --quick',
    before.rounds !== now.rounds && `${before.rounds} rounds`,
    before.python !== now.python && 'another choice of peers',
  ].find((reason) => reason !== false);
  // Changes that no commit holds may differ between two runs of one name.
  const unsure =
    !asked && now.commit.includes('changes') ? 'uncommitted changes: --resume goes on all the same' : undefined;
  const because = changed === undefined ? unsure : `the rows there are of ${changed}`;
  return because === undefined ? { rows: before.rows, because: '' } : { rows: [], because };
}
