// What an import says about itself: in summary.json and, under the same keys, in the schema metadata of each of its files.

import { z } from 'zod';

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.int().nonnegative();
const histogram = z.strictObject({
  rows: count,
  mean: z.number(),
  percentiles: z.record(z.string(), count),
  longest: count,
  /** [from, to) and the rows in it. */
  bins: z.array(z.tuple([count, count, count])),
});

/** Known before the first row is read; another value of any of these is another import. */
export const importOrigin = z.strictObject({
  gleaner_version: z.string(),
  /** Names without folders: where the files lay is nobody's business. */
  sources: z.array(z.strictObject({ file: z.string(), bytes: count, sha256 })),
  tokenizer: z.strictObject({ files: z.record(z.string(), sha256), sha256, vocab_size: count }),
  /** As it was resolved: the tokenizer's own (tokenizer), zephyr, chatml or none. */
  template: z.strictObject({ name: z.string(), sha256: sha256.nullable() }),
  settings: z.strictObject({
    format: z.string(),
    template: z.string(),
    bos: z.string(),
    eos_token_id: count,
    max_length: count.nullable(),
    max_prompt_length: count.nullable(),
    limit: count.nullable(),
    shard_bytes: count,
  }),
});
export type ImportOrigin = z.infer<typeof importOrigin>;

/** Known at its end. */
export const importResult = z.strictObject({
  counts: z.strictObject({
    read: count,
    kept: count,
    prompts_cut: count,
    responses_cut: count,
    dropped: z.record(z.string(), count),
  }),
  /** For each reason of counts.dropped, and for prompts_cut and responses_cut, the first row that it met. */
  first: z.record(z.string(), z.string()),
  tokens: z.strictObject({ prompt: count, response: count, total: count, highest_id: count }),
  lengths: z.strictObject({ prompt: histogram, response: histogram, total: histogram }),
});
export type ImportResult = z.infer<typeof importResult>;

export const importSummary = z.strictObject({
  ...importOrigin.shape,
  ...importResult.shape,
  shards: z.array(z.strictObject({ file: z.string(), rows: count, bytes: count })),
});
export type ImportSummary = z.infer<typeof importSummary>;

const prefix = 'gleaner.';
/** Bytes that a value of the result takes whatever it is, so that it can be put into a file whose rows stand already. */
const RESULT_BYTES = { counts: 1024, first: 4096, tokens: 256, lengths: 4096 } as const;

/** As an Arrow schema carries it. Without a result its place is kept free. */
export function toMetadata(origin: ImportOrigin, result: ImportResult | undefined): Map<string, string> {
  const metadata = new Map(Object.entries(origin).map(([key, value]) => [prefix + key, JSON.stringify(value)]));
  for (const [key, bytes] of Object.entries(RESULT_BYTES)) {
    const text = result === undefined ? '' : JSON.stringify(Reflect.get(result, key));
    const free = bytes - Buffer.byteLength(text);
    if (free < 0) throw new RangeError(`${key} of an import takes ${bytes - free} bytes`);
    metadata.set(prefix + key, text + ' '.repeat(free));
  }
  return metadata;
}

/** undefined: the file is from elsewhere, or was never finished. */
export function fromMetadata(metadata: ReadonlyMap<string, string>): (ImportOrigin & ImportResult) | undefined {
  const found: Record<string, unknown> = {};
  try {
    for (const [key, value] of metadata)
      if (key.startsWith(prefix)) found[key.slice(prefix.length)] = JSON.parse(value);
  } catch {
    return undefined;
  }
  const parsed = z.strictObject({ ...importOrigin.shape, ...importResult.shape }).safeParse(found);
  return parsed.success ? parsed.data : undefined;
}
