#!/usr/bin/env node
// The command as npm links it: the compiled CLI.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = new URL('../dist/cli/main.js', import.meta.url);
if (!existsSync(fileURLToPath(main))) {
  process.stderr.write('gleaner is not built yet. Run: npm run build\n');
  process.exit(1);
}
await import(main.href);
