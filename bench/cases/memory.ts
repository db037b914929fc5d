// The most memory that a fresh process holds through three SFT steps, and what is installed on disk.

import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { lstat, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { z } from 'zod';
import type { FiguresCase } from '../case.js';
import { shapes } from '../model.js';
import { Peer } from '../peer.js';
import { optimizer } from '../training.js';
import { sftRows } from './sft.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const STEPS = 3;
const said = z.object({ peak_rss_bytes: z.number(), loss: z.number() });

export const memory: FiguresCase = {
  kind: 'figures',
  name: 'memory-sft-14m',
  group: 'memory',
  about: 'most memory of a fresh process through three SFT steps, 14m, 8 × 256 tokens',
  quick: true,
  measure: async ({ threads, folder, python, model: modelFolder }) => {
    const model = await modelFolder('14m');
    const steps = Array.from({ length: STEPS }, (_, step) => sftRows(step, shapes['14m'].vocab));
    const request = join(folder, 'request.json');
    // What is installed is the bundle: running from the sources would charge a compiler's memory to gleaner.
    const engine = join(root, 'dist/index.js');
    const limits = { micro_batch_tokens: 2048, max_length: 256 };
    await writeFile(request, JSON.stringify({ engine, model, threads, optimizer, steps, ...limits }));
    const child = fileURLToPath(new URL('../memory_child.mjs', import.meta.url));
    const { stdout } = await run(process.execPath, [child, request]);
    const ours = said.parse(JSON.parse(stdout));
    const peers: Record<string, number> = {};
    if (python !== undefined) {
      const spec = { name: 'transformers eager', runtime: 'python', script: 'sft.py', settings: {} } as const;
      const { peer } = await Peer.start(spec, python, { model, threads, settings: { ...optimizer } });
      await using _ = peer;
      for (const [step, rows] of steps.entries()) {
        const { checks } = await peer.run(rows);
        const { loss } = checks;
        const agrees = typeof loss === 'number' && Math.abs(loss - ours.loss) <= 1e-4 * Math.max(1, loss);
        if (step === STEPS - 1 && agrees) peers[spec.name] = await peer.peakMemory();
      }
    }
    return [{ name: 'peak memory, SFT 14m', unit: 'bytes', ours: ours.peak_rss_bytes, peers, at_most: 0.45e9 }];
  },
};

export const size: FiguresCase = {
  kind: 'figures',
  name: 'installed-size',
  group: 'memory',
  about: 'bytes on disk of gleaner with its packages, and of the peers’ Python packages',
  threads: [2],
  quick: true,
  measure: async ({ python }) => {
    const lock = z
      .object({
        packages: z.record(z.string(), z.object({ dev: z.boolean().optional(), devOptional: z.boolean().optional() })),
      })
      .parse(JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')));
    const packages = Object.entries(lock.packages).flatMap(([path, { dev, devOptional }]) =>
      path.startsWith('node_modules/') && !dev && !devOptional ? [path] : [],
    );
    const { files } = z
      .object({ files: z.array(z.string()) })
      .parse(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')));
    const own = [...files, 'package.json', 'build/Release/gleaner.node'];
    let ours = 0;
    for (const path of [...own, ...packages]) ours += await bytesOf(join(root, path));
    const peers: Record<string, number> = {};
    if (python !== undefined) {
      const where = 'import sysconfig; print(sysconfig.get_paths()["purelib"])';
      const { stdout } = await run(python, ['-c', where]);
      peers['site-packages'] = await bytesOf(stdout.trim());
    }
    return [{ name: 'installed size', unit: 'bytes', ours, peers, at_most: 60e6 }];
  },
};

/** Nested packages are named by the lock themselves, and counted there. */
async function bytesOf(path: string): Promise<number> {
  const found = await lstat(path).catch(() => undefined);
  if (!found) return 0;
  if (!found.isDirectory()) return found.size;
  let sum = 0;
  for (const name of await readdir(path)) if (name !== 'node_modules') sum += await bytesOf(join(path, name));
  return sum;
}
