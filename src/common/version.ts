// The version of this package.

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { packageFile } from './package_file.js';

export function version(): string {
  const text = readFileSync(packageFile('package.json'), 'utf8');
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}
