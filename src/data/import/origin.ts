// What an import depends on, by hash: its sources, the tokenizer, the template, the settings. Where one of them is another than it was when an
// import began, going on would mix two data sets: the difference is named.

import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { throwIfAborted } from '../aborted.js';
import { chatTemplate } from '../chat/template.js';
import { dataError, fileError } from '../errors.js';
import { type FormatName, type ReadOptions, recognise } from '../readers.js';
import type { TokenizeSettings } from '../tokenize.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import type { ImportOrigin } from './metadata.js';

/** In a tokenizer's folder, what has a say in ids. */
const tokenizerFiles = ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'] as const;

export interface SourceFile {
  path: string;
  /** As the import calls it. */
  file: string;
  bytes: number;
  format: FormatName;
  detail: string;
}

/** The files that the paths stand for, and what they were recognised as. */
export async function sourceFiles(paths: readonly string[], format: ReadOptions['format']): Promise<SourceFile[]> {
  const found: SourceFile[] = [];
  for (const path of paths) {
    const recognised = await recognise(path, format);
    for (const file of recognised.files) {
      const info = await stat(file).catch((error: unknown) => {
        throw fileError(file, error);
      });
      if (!info.isFile())
        throw dataError(`${file}: no plain file`, 'An import reads its source twice: save it as a file first.');
      const name = file === path ? basename(path) : join(basename(path), relative(path, file));
      found.push({ path: file, file: name, bytes: info.size, format: recognised.format, detail: recognised.detail });
    }
  }
  return found;
}

/** `onBytes` is told how much was read since it was told last. */
export async function hashSources(
  files: readonly SourceFile[],
  onBytes: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<ImportOrigin['sources']> {
  const sources: ImportOrigin['sources'] = [];
  for (const { path, file } of files) {
    const hash = createHash('sha256');
    let bytes = 0;
    try {
      const stream: AsyncIterable<unknown> = createReadStream(path, { highWaterMark: 2 ** 20 });
      for await (const chunk of stream) {
        if (!Buffer.isBuffer(chunk)) continue;
        throwIfAborted(signal);
        hash.update(chunk);
        bytes += chunk.length;
        onBytes(chunk.length);
      }
    } catch (error) {
      if (signal?.aborted) throw error;
      throw fileError(path, error);
    }
    sources.push({ file, bytes, sha256: hash.digest('hex') });
  }
  return sources;
}

export async function tokenizerOrigin(tokenizer: Tokenizer): Promise<ImportOrigin['tokenizer']> {
  const files: Record<string, string> = {};
  const all = createHash('sha256');
  for (const name of tokenizerFiles) {
    const bytes = await readFile(join(tokenizer.path, name)).catch(() => undefined);
    if (bytes === undefined) continue;
    files[name] = sha256(bytes);
    all.update(`${name} ${files[name]}\n`);
  }
  return { files, sha256: all.digest('hex'), vocab_size: tokenizer.vocab_size };
}

export function templateOrigin(template: TokenizeSettings['template'], tokenizer: Tokenizer): ImportOrigin['template'] {
  if (template === 'none') return { name: 'none', sha256: null };
  const own = template === 'auto' ? tokenizer.chat_template : undefined;
  if (own !== undefined) return { name: 'tokenizer', sha256: sha256(own.source) };
  const name = template === 'auto' ? 'zephyr' : template;
  return { name, sha256: sha256(chatTemplate(name, tokenizer, '')?.source ?? '') };
}

const sha256 = (content: string | Uint8Array) => createHash('sha256').update(content).digest('hex');

/** What is another thing now, in words; [] : nothing. */
export function differences(before: ImportOrigin, now: ImportOrigin): string[] {
  const since = 'since the import that began here';
  const found: string[] = [];
  const names = (origin: ImportOrigin) => origin.sources.map(({ file }) => file);
  if (names(before).join('\n') !== names(now).join('\n'))
    found.push(`the sources are ${list(names(now))}: the import that began here has ${list(names(before))}`);
  else
    for (const [place, { file, sha256: hash }] of now.sources.entries())
      if (before.sources[place]?.sha256 !== hash) found.push(`${file} changed ${since}`);
  for (const name of tokenizerFiles) {
    const [old, fresh] = [before.tokenizer.files[name], now.tokenizer.files[name]];
    if (old === fresh) continue;
    const what = fresh === undefined ? 'is gone' : old === undefined ? 'is new' : 'changed';
    found.push(`the tokenizer's ${name} ${what} ${since}`);
  }
  for (const [key, value] of Object.entries(now.settings)) {
    const old: unknown = Reflect.get(before.settings, key);
    if (old !== value) found.push(`${key} is ${value ?? 'none'}: the import that began here has ${old ?? 'none'}`);
  }
  if (found.length === 0 && before.template.sha256 !== now.template.sha256)
    found.push(`the chat template changed ${since}`);
  if (before.gleaner_version !== now.gleaner_version)
    found.push(`gleaner ${before.gleaner_version} began the import here, this is ${now.gleaner_version}`);
  return found;
}

function list(names: readonly string[]): string {
  return names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
}
