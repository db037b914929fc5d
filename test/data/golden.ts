// Reads test/golden/tokenization.json (written by test/golden/make/tokenization.py) and lays its tiny tokenizers out as folders.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { Tokenizer } from '../../src/data/tokenizer/tokenizer.js';
import { goldenFolder } from '../golden/golden.js';

const ids = z.array(z.int());
const described = z.object({
  vocab_size: z.int(),
  ids: z.array(ids),
  odd_ids: z.array(ids),
  decoded: z.array(z.string()),
  decoded_plain: z.array(z.string()),
});
const message = z.object({ role: z.string(), content: z.string() });
const row = z.object({ prompt_ids: ids, response_ids: ids });
const golden = z.object({
  texts: z.array(z.string()),
  odd_texts: z.array(z.string()),
  real: z.record(z.string(), described),
  tiny: z.record(z.string(), described.extend({ tokenizer: z.looseObject({}) })),
  templates: z.record(z.string(), z.string()),
  special_tokens: z.record(z.string(), z.string()),
  chats: z.array(
    z.object({
      template: z.string(),
      messages: z.array(message),
      add_generation_prompt: z.boolean(),
      /** null: the template raised an exception. */
      text: z.string().nullable(),
    }),
  ),
  story: z.tuple([z.string(), z.string()]),
  chat: z.array(message),
  rows: z.record(z.string(), z.record(z.string(), row)),
  compat_pairs: z.array(
    z.object({
      kind: z.enum(['prompt_response', 'messages']),
      sampled: ids,
      max_length: z.int(),
      max_prompt_length: z.int(),
      pair: z.object({ prompt_ids: ids, real_ids: ids, generated_ids: ids }),
    }),
  ),
});

export type Described = z.infer<typeof described>;
export const readTokenization = () =>
  golden.parse(JSON.parse(readFileSync(`${goldenFolder}tokenization.json`, 'utf8')));

/** Where the shared data has the real tokenizers. */
export const realTokenizers: Record<string, string> = {
  pythia: 'tokenizers/pythia',
  gpt2: 'tokenizers/gpt2',
  mistral: 'tokenizers/mistral',
  zephyr: 'tokenizers/zephyr',
  stories260K: 'models/stories260K',
};

/** Runs work in a folder with these files; objects are written as JSON. */
export async function inFolder<T>(files: Record<string, unknown>, work: (folder: string) => T): Promise<Awaited<T>> {
  const folder = mkdtempSync(join(tmpdir(), 'gleaner-data-'));
  try {
    for (const [name, content] of Object.entries(files)) {
      const raw = typeof content === 'string' || content instanceof Uint8Array;
      writeFileSync(join(folder, name), raw ? content : JSON.stringify(content));
    }
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A tiny tokenizer, with what its tokenizer_config.json says. */
export function tinyTokenizer(name: 'tiny-bytes' | 'tiny-pieces', config: object = {}): Promise<Tokenizer> {
  const json = readTokenization().tiny[name]?.tokenizer;
  const own = name === 'tiny-pieces' ? { bos_token: '<s>', eos_token: '</s>' } : { eos_token: '<|eos|>' };
  return inFolder({ 'tokenizer.json': json, 'tokenizer_config.json': { ...own, ...config } }, (folder) =>
    Tokenizer.load(folder),
  );
}
