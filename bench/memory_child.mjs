// A fresh process that trains a few steps on the rows it is given and says the most memory that it held. Run by cases/memory.ts; JavaScript, so
// that no compiler's memory is counted.

import { readFileSync } from 'node:fs';

const { engine: path, model, threads, steps, optimizer, ...limits } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { Engine } = await import(path);
const engine = await Engine.load(model, { threads });
await engine.prepareTraining({ optimizer, activations: 'keep', ...limits });
let loss = Number.NaN;
for (const rows of steps) {
  const step = { learning_rate: optimizer.learning_rate, max_grad_norm: null };
  ({ loss } = await engine.update({ objective: { name: 'sft' }, rows }, step));
}
await engine.close();
console.log(JSON.stringify({ peak_rss_bytes: process.resourceUsage().maxRSS * 1024, loss }));
