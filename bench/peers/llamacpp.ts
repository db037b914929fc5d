// node-llama-cpp on the same weights, as an F32 GGUF written beside the model. One context a round, all sequences evaluated at once.

import { closeSync, existsSync, openSync, writeSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import { z } from 'zod';
import { readSafetensors } from '../../src/models/safetensors.js';
import { ggufFile } from '../gguf.js';
import { ggufOfModel } from '../gguf_model.js';
import { timed } from '../timed.js';

const config = z.object({
  model_type: z.string(),
  vocab_size: z.int(),
  hidden_size: z.int(),
  num_hidden_layers: z.int(),
  num_attention_heads: z.int(),
  num_key_value_heads: z.int().optional(),
  intermediate_size: z.int(),
  max_position_embeddings: z.int(),
  rotary_pct: z.number().optional(),
});
const ids = z.array(z.int());
const rowsSchema = z.object({
  prompts: z.array(ids),
  lengths: z.array(z.int()),
  check: z.array(z.object({ prompt_ids: ids, response_ids: ids })),
});
const requestSchema = z.discriminatedUnion('do', [
  z.object({
    do: z.literal('load'),
    model: z.string(),
    threads: z.int(),
    settings: z.object({ modules: z.string() }),
  }),
  z.object({ do: z.literal('step'), rows: rowsSchema }),
  z.object({ do: z.literal('memory') }),
]);
type Rows = z.infer<typeof rowsSchema>;

/** What this script uses of node-llama-cpp, which the bench does not install. */
interface Sequence {
  evaluate(tokens: number[], options: object): AsyncGenerator<number>;
  controlledEvaluate(input: unknown[]): Promise<({ next: { logits?: Map<number, number> } } | undefined)[]>;
}
interface Context {
  getSequence(): Sequence;
  dispose(): Promise<void>;
}
interface Model {
  createContext(options: object): Promise<Context>;
}
interface Package {
  getLlama(options: object): Promise<{ loadModel(options: object): Promise<Model> }>;
}

const SAMPLING = { temperature: 1, topK: 0, topP: 1, minP: 0, yieldEogToken: true };

async function ggufBeside(folder: string): Promise<string> {
  const path = join(folder, 'model.gguf');
  if (existsSync(path)) return path;
  const described = config.parse(JSON.parse(await readFile(join(folder, 'config.json'), 'utf8')));
  const weights = join(folder, 'model.safetensors');
  const { tensors } = await readSafetensors(weights);
  const read = new Map<string, { shape: readonly number[]; data: Float32Array }>();
  const file = await open(weights);
  for (const { name, shape, offset, bytes } of tensors.values()) {
    const data = new Float32Array(bytes / 4);
    await file.read(new Uint8Array(data.buffer), 0, bytes, offset);
    read.set(name, { shape, data });
  }
  await file.close();
  const model = ggufOfModel(described, read);
  const written = `${path}.${process.pid}`;
  const out = openSync(written, 'w');
  for (const piece of ggufFile(model.metadata, model.tensors)) writeSync(out, piece);
  closeSync(out);
  await rename(written, path);
  return path;
}

let model: Model | undefined;
let threads = 1;
let checked: number[] | undefined;

function context({ prompts, lengths }: Rows): Promise<Context> {
  if (!model) throw new Error('not loaded');
  const longest = Math.max(...prompts.map((prompt) => prompt.length)) + Math.max(...lengths);
  return model.createContext({ contextSize: longest + 8, sequences: prompts.length, batchSize: 2048, threads });
}

async function step(rows: Rows) {
  const one = await context(rows); // as long as a server lives: not in the clock
  try {
    const sequences = rows.prompts.map(() => one.getSequence());
    const { seconds, cpu_seconds } = await timed(() =>
      Promise.all(
        rows.prompts.map(async (prompt, i) => {
          let left = rows.lengths[i] ?? 0;
          for await (const _ of sequences[i]?.evaluate(prompt, SAMPLING) ?? []) if (--left <= 0) break;
          if (left > 0) throw new Error(`sequence ${i} ended ${left} tokens early`);
        }),
      ),
    );
    checked ??= await logprobs(rows);
    const tokens = [...rows.prompts.map((prompt) => prompt.length), ...rows.lengths].reduce((a, b) => a + b, 0);
    return { seconds, cpu_seconds, checks: { first_logprobs: checked }, tokens };
  } finally {
    await one.dispose();
  }
}

/** Of the first sampled tokens of the first sequence, from a prefill. */
async function logprobs(rows: Rows): Promise<number[]> {
  const [row] = rows.check;
  if (!row) throw new Error('nothing to check');
  const response = row.response_ids.slice(0, 8);
  const one = await context({ ...rows, prompts: [row.prompt_ids] });
  try {
    const input = [...row.prompt_ids, ...response.slice(0, -1)].map((token, i) =>
      i < row.prompt_ids.length - 1 ? token : [token, { generateNext: { logits: true, options: SAMPLING } }],
    );
    const answers = await one.getSequence().controlledEvaluate(input);
    return response.map((token, i) => {
      const logits = answers[row.prompt_ids.length - 1 + i]?.next.logits;
      if (!logits) throw new Error('no logits');
      let sum = 0;
      for (const value of logits.values()) sum += Math.exp(value);
      return (logits.get(token) ?? Number.NaN) - Math.log(sum);
    });
  } finally {
    await one.dispose();
  }
}

async function answer(request: z.infer<typeof requestSchema>): Promise<object> {
  if (request.do === 'memory') return { peak_rss_bytes: process.resourceUsage().maxRSS * 1024 };
  if (request.do === 'step') return step(request.rows);
  const home = join(request.settings.modules, 'node_modules', 'node-llama-cpp');
  const [{ getLlama }, { version }]: [Package, { version: string }] = await Promise.all([
    import(pathToFileURL(join(home, 'dist', 'index.js')).href),
    readFile(join(home, 'package.json'), 'utf8').then(JSON.parse),
  ]);
  threads = request.threads;
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    logLevel: 'error',
    maxThreads: threads,
    progressLogs: false,
  });
  model = await llama.loadModel({ modelPath: await ggufBeside(request.model), checkTensors: false });
  return { versions: { 'node-llama-cpp': version } };
}

for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log(JSON.stringify(await answer(requestSchema.parse(JSON.parse(line)))));
  } catch (error) {
    console.log(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }));
  }
}
process.exit(0);
