// One row: a case at one thread count, opened, measured with its peers, closed.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AnyCase, Case, CurveOptions, Limits, OpenOptions } from './case.js';
import type { MeasureLimits } from './machine.js';
import { measure, WARM_UP } from './measure.js';
import { writeModel } from './model.js';
import { Peer } from './peer.js';
import type { RoundsRow, Row } from './results.js';
import { summaryOf } from './summary.js';

export interface RowSettings {
  python: string | undefined;
  threads: number;
  /** At fewer threads, peers that take seconds a step are left out. */
  most_threads: number;
  rounds: number;
  quick: boolean;
  /** Where models of this run are kept. */
  models: string;
  limits: MeasureLimits | undefined;
}

export async function runRow(one: AnyCase, given: RowSettings): Promise<Row> {
  const folder = await mkdtemp(join(tmpdir(), 'gleaner-bench-'));
  const start = performance.now();
  const { threads, quick, rounds } = given;
  const open: OpenOptions = {
    threads,
    folder,
    quick,
    rounds: WARM_UP + rounds,
    model: (name) => writeModel(given.models, name),
  };
  const { name, group, about } = one;
  const shared = { name, group, about, threads };
  const seconds = () => (performance.now() - start) / 1e3;
  try {
    if (one.kind === 'rounds') {
      const row = await runRounds(one, open, given);
      return { kind: 'rounds', ...shared, ...row, seconds: seconds() };
    }
    if (one.kind === 'curve') {
      const limits = async (): Promise<Limits> => (await given.limits?.({ flops: true, bytes: true }, threads)) ?? {};
      const options: CurveOptions = { ...open, limits };
      const lines = (await one.measure(options)).map((line) => ({ ...line, points: [...line.points] }));
      return { kind: 'curve', ...shared, x: one.x, y: one.y, lines, seconds: seconds() };
    }
    const figures = (await one.measure({ ...open, rounds, python: given.python })).map((figure) => ({
      ...figure,
      peers: { ...figure.peers },
    }));
    return { kind: 'figures', ...shared, figures, seconds: seconds() };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runRounds(
  one: Case,
  open: OpenOptions,
  given: RowSettings,
): Promise<Pick<RoundsRow, 'precision' | 'goals' | 'checks' | 'missing' | 'versions' | 'summary' | 'rounds'>> {
  const { threads, most_threads, python, rounds, limits } = given;
  const missing: Record<string, string> = {};
  const versions: Record<string, string> = {};
  await using ours = await one.open(open);
  await using started = new Started();
  const peers: { name: string; side: Peer }[] = [];
  for (const spec of one.peers) {
    if (spec.threads && !spec.threads.includes(threads)) continue;
    if (spec.quick === false && open.quick) continue;
    try {
      const { peer, versions: told } = await Peer.start(spec, python, ours.peerLoad);
      started.peers.push(peer);
      Object.assign(versions, told);
      peers.push({ name: spec.name, side: peer });
    } catch (error) {
      missing[spec.name] = error instanceof Error ? error.message : String(error);
    }
  }
  const { flops, bytes } = ours.work(0);
  const what = { flops: flops !== undefined, bytes: bytes !== undefined };
  const measured = await measure(ours, peers, {
    rounds,
    tolerances: one.tolerances,
    limits: limits && (what.flops || what.bytes ? () => limits(what, threads) : undefined),
    ...(one.budget_seconds === undefined ? {} : { budget_seconds: one.budget_seconds }),
    // A quick run checks that sides agree; its times are not for keeping.
    ...(open.quick ? { warm_up: 1 } : {}),
    drop_slow: threads < most_threads,
  });
  const precision = one.precision ?? 'fp32';
  const found = { ...measured, missing: { ...missing, ...measured.missing }, precision };
  const goals = { ...one.goals, ...(one.goals?.ratio ? { ratio: { ...one.goals.ratio } } : {}) };
  return { ...found, goals, versions, summary: summaryOf(found) };
}

/** Ends every peer that was started, however the row ends. */
class Started implements AsyncDisposable {
  readonly peers: Peer[] = [];
  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.peers) await peer[Symbol.asyncDispose]();
  }
}
