// Runs in a worker thread or a process of its own: loads a model, and does what the first word asks for.

import { parentPort, workerData } from 'node:worker_threads';
import { Engine } from '../../src/engine/engine.js';
import { goldenModel } from '../golden/golden.js';
import { trainingOptions } from './engines.js';

export interface Told {
  loss: number;
  response_ids: number[];
}

const order: unknown = workerData?.order ?? process.argv[2];
const engine = await Engine.load(goldenModel('llama-gqa'), { threads: 2 });
await engine.prepareTraining(trainingOptions);
const rows = [{ id: 'a', prompt_ids: [3, 4, 5], response_ids: [6, 7, 8, 9] }];
const sampling = { max_new_tokens: 40, temperature: 1, top_p: 1, top_k: 0, seed: 1, eos_token_ids: [] };
const prompts = Array.from({ length: 2000 }, (_, sample_id) => ({ prompt_ids: [3, 4, 5], sample_id }));
const longWork = () => engine.generate(prompts, { ...sampling, max_new_tokens: 200, onToken: () => undefined });

if (order === 'once') {
  const { loss } = await engine.update({ objective: { name: 'sft' }, rows }, { learning_rate: 1e-3, max_grad_norm: 1 });
  const [row] = await engine.generate(prompts.slice(0, 1), sampling);
  const told: Told = { loss, response_ids: [...(row?.response_ids ?? [])] };
  parentPort?.postMessage(told);
  await engine.close();
} else if (order === 'dropped') {
  // An idle engine does not hold the process open.
  process.stdout.write('idle');
} else {
  const work = longWork();
  parentPort?.postMessage('working');
  if (order === 'exit') setTimeout(() => process.exit(7), 30);
  if (order === 'throw') setTimeout(() => Promise.reject(new Error('unhandled')), 30);
  await work;
}
