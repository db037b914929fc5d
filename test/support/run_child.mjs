// Runs the recipe that it is given (JSON), going on with what is there; says so when it begins. A process to be killed: compiled, so that it begins soon.

import { run } from '../../dist/index.js';

process.send?.('begins');
await run(JSON.parse(process.argv[2]), { resume: true });
process.disconnect?.();
