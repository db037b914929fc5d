// Runs in a worker thread: each command on an engine of its own, and a report of what came of it.

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { z } from 'zod';
import { Engine } from '../../src/engine/engine.js';
import { goldenModel } from '../golden/golden.js';
import { commands, digest, outcome, prepared, probe, restored } from './commands.js';

const { folder } = z.object({ folder: z.string() }).parse(workerData);
const own = join(folder, 'own');
mkdirSync(own, { recursive: true });
const engine = await Engine.load(goldenModel('llama-gqa'), { threads: 2 });
await prepared(engine, own);
const found: Record<string, string> = {};
for (const [name, work] of commands) {
  await restored(engine, own);
  if (name !== 'memory') found[name] = await outcome(name, () => work(engine, own));
}
found.probe = digest(await probe(engine, own));
await engine.close();
parentPort?.postMessage(found);
