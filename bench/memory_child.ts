// A fresh process that trains a few steps on the rows it is given and says the most memory that it held. Run by cases/memory.ts.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { z } from 'zod';

const given = z.object({
  engine: z.string(),
  model: z.string(),
  threads: z.number(),
  micro_batch_tokens: z.number(),
  max_length: z.number(),
  optimizer: z.object({
    name: z.literal('adamw'),
    learning_rate: z.number(),
    betas: z.tuple([z.number(), z.number()]),
    eps: z.number(),
    weight_decay: z.number(),
  }),
  steps: z.array(
    z.array(z.object({ id: z.string(), prompt_ids: z.array(z.number()), response_ids: z.array(z.number()) })),
  ),
});

const { positionals } = parseArgs({ allowPositionals: true });
const {
  engine: path,
  model,
  threads,
  steps,
  optimizer,
  ...limits
} = given.parse(JSON.parse(readFileSync(positionals[0] ?? '', 'utf8')));
const { Engine }: typeof import('../src/engine/engine.js') = await import(path);
const engine = await Engine.load(model, { threads });
await engine.prepareTraining({ optimizer, activations: 'keep', ...limits });
let loss = Number.NaN;
for (const rows of steps) {
  const step = { learning_rate: optimizer.learning_rate, max_grad_norm: null };
  ({ loss } = await engine.update({ objective: { name: 'sft' }, rows }, step));
}
await engine.close();
console.log(JSON.stringify({ peak_rss_bytes: process.resourceUsage().maxRSS * 1024, loss }));
