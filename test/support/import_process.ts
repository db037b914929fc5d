// An import in a process of its own, which tells of each step on stdout, so that a test can kill it there.

import { importData } from '../../src/data/import/import.js';
import { importOptions } from './import.js';

const [source = '', out = '', shard_bytes = '0', workers = '1'] = process.argv.slice(2);
const { status } = await importData(
  importOptions([source], out, {
    shard_bytes: Number(shard_bytes),
    journal_every_ms: 0,
    workers: Number(workers),
    onProgress: ({ stage }) => process.stdout.write(`${stage}\n`),
  }),
);
process.stdout.write(`${status}\n`);
