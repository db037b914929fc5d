// Makes what this example starts from, with nothing but the world and gleaner: tokenizer, base models, demonstrations.
//   node --import tsx examples/quickstart/make.ts [--seed N]      one base (default: 1, 2 and 3)

import { copyFile, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defineRecipe, run } from '../../src/index.js';
import { trainBpe } from './bpe.js';
import { CORRUPTED, files, writeJsonl } from './files.js';
import { Random } from './random.js';
import { makeDemonstrations, makeText } from './world.js';

const VOCAB_SIZE = 559; // every word of the desk is one token then
const EOS = '<|end|>';
const TEXTS = 32_000;
const DEMONSTRATIONS = 200;

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: VOCAB_SIZE,
  hidden_size: 128,
  intermediate_size: 256,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 4,
  max_position_embeddings: 128,
  rope_theta: 1000,
  rms_norm_eps: 1e-5,
  hidden_act: 'silu',
  attention_bias: false,
  mlp_bias: false,
  tie_word_embeddings: true,
  initializer_range: 0.05,
  bos_token_id: null,
  eos_token_id: 0,
  torch_dtype: 'bfloat16',
};

async function makeBase(seed: number): Promise<void> {
  const work = join('runs', 'quickstart', `base-${seed}`);
  const start = join(work, 'start');
  await mkdir(start, { recursive: true });
  const json = (name: string, content: object) => writeFile(join(start, name), `${JSON.stringify(content, null, 1)}\n`);
  await json('config.json', config);
  await json('generation_config.json', { eos_token_id: 0, do_sample: true });
  await json('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    eos_token: EOS,
    pad_token: EOS,
    clean_up_tokenization_spaces: false,
    model_max_length: config.max_position_embeddings,
  });
  // One tokenizer for all bases, so that their log-probabilities compare.
  const alphabet = new Random(0, 'tokenizer');
  await json(
    'tokenizer.json',
    trainBpe(
      Array.from({ length: 20_000 }, () => makeText(alphabet)),
      { vocab_size: VOCAB_SIZE, eos: EOS },
    ),
  );

  const random = new Random(seed, 'text');
  const text = join(work, 'text.jsonl');
  await writeJsonl(
    text,
    Array.from({ length: TEXTS }, () => ({ text: makeText(random) })),
  );

  const recipe = defineRecipe({
    name: `quickstart-base-${seed}`,
    method: 'sft',
    model: start,
    init: 'random',
    seed,
    output: join(work, 'run'),
    data: { train: text, max_length: config.max_position_embeddings, max_prompt_length: 64 },
    train: {
      batch_size: 24,
      epochs: 1,
      optimizer: { name: 'adamw', learning_rate: 2e-3, betas: [0.9, 0.98] },
      schedule: { name: 'cosine', warmup_ratio: 0.04 },
    },
    evaluation: { samples: 0 },
    checkpoint: { dtype: 'bfloat16' }, // half the bytes to commit
  });
  const { final, steps } = await run(recipe, {
    overwrite: true,
    onMetrics: ({ step, loss, tokens_per_second }) => {
      if (step % 100 === 0 && loss !== undefined)
        say(`base ${seed}: step ${step}, loss ${loss.toFixed(3)}, ${tokens_per_second?.toFixed(0)} tokens/s`);
    },
  });
  await mkdir(files.base(seed), { recursive: true });
  for (const name of await readdir(final)) await copyFile(join(final, name), join(files.base(seed), name));
  say(`base ${seed}: ${steps} steps, in ${files.base(seed)}`);
}

async function makeData(seeds: readonly number[]): Promise<void> {
  const used = new Set<string>(); // of all sets: none shares a prompt with another
  const test = makeDemonstrations({ seed: 0, name: 'test', count: 300, corrupted: 0, used });
  const dev = makeDemonstrations({ seed: 0, name: 'dev', count: 200, corrupted: 0, used });
  await mkdir(join(files.dev, '..'), { recursive: true });
  await writeJsonl(files.test, test);
  await writeJsonl(files.dev, dev);
  for (const seed of seeds) {
    const before = [...used];
    for (const kind of ['clean', 'corrupted'] as const) {
      const rows = makeDemonstrations({
        seed,
        name: `demo-${seed}`,
        count: DEMONSTRATIONS,
        corrupted: CORRUPTED[kind],
        used: new Set(before),
      });
      await writeJsonl(files.demonstrations(seed, kind), rows);
      for (const { prompt } of rows) used.add(prompt);
    }
  }
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

const { values } = parseArgs({ options: { seed: { type: 'string' } } });
const seeds = values.seed === undefined ? [1, 2, 3] : [Number(values.seed)];
const began = performance.now();
await makeData(seeds);
for (const seed of seeds) await makeBase(seed);
say(`made in ${((performance.now() - began) / 1000).toFixed(0)} s`);
