// Formats the native sources, or with --check names those that are not formatted.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { npmBin, root, run } from './tools.mjs';

const files = ['native', 'test/native'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(cc|h|inc|cu|cuh)$/.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name)),
);
const check = process.argv.includes('--check');
const { code } = await run(process.execPath, [
  npmBin('clang-format/index.js'),
  ...(check ? ['-n', '-Werror'] : ['-i']),
  ...files,
]);
process.exitCode = code;
