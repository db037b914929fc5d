// A folder with a model of a few thousand parameters (config.json alone) and demonstrations as ids: enough for a whole run in a second.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RecipeInput } from '../../src/recipe/schema.js';

const config = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  vocab_size: 40,
  hidden_size: 16,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 24,
  hidden_act: 'silu',
  max_position_embeddings: 64,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  tie_word_embeddings: true,
  initializer_range: 0.2,
  bos_token_id: 1,
  eos_token_id: 2,
};

export interface TinyRun {
  folder: string;
  recipe: RecipeInput;
  path(...parts: string[]): string;
}

const folders: string[] = [];
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** An empty folder that is gone when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gleaner-test-'));
  folders.push(folder);
  return folder;
}

/** Demonstrations count up by one from the prompt's last id, then end. */
export function tinyRow(i: number): { id: string; prompt_ids: number[]; response_ids: number[] } {
  const start = 3 + (i % 20);
  return {
    id: `row ${i}`,
    prompt_ids: [1, start],
    response_ids: [...Array.from({ length: 2 + (i % 5) }, (_, step) => start + 1 + step), 2],
  };
}

export function tinyRun(numRows = 24): TinyRun {
  const folder = temporaryFolder();
  const path = (...parts: string[]) => join(folder, ...parts);
  writeFileSync(path('config.json'), JSON.stringify(config));
  const lines = (from: number, count: number) =>
    Array.from({ length: count }, (_, i) => JSON.stringify(tinyRow(from + i))).join('\n');
  writeFileSync(path('train.jsonl'), lines(0, numRows));
  writeFileSync(path('eval.jsonl'), lines(numRows, 6));
  return {
    folder,
    path,
    recipe: {
      method: 'irft',
      model: folder,
      init: 'random',
      threads: 1,
      output: path('run'),
      data: { train: path('train.jsonl'), eval: path('eval.jsonl'), max_length: 24, max_prompt_length: 8 },
      train: {
        batch_size: 4,
        epochs: 1,
        optimizer: { name: 'adamw', learning_rate: 3e-3 },
        schedule: { name: 'constant', warmup_ratio: 0 },
      },
      irft: { rounds: 2 },
      generation: { max_new_tokens: 8 },
      evaluation: { every: null, samples: 3 },
    },
  };
}
