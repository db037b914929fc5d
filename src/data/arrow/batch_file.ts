// An Arrow IPC file or stream by record batch: one pass over the headers of its messages makes an index, then a batch is one read into one
// buffer, and any number of reads may be in flight. A file whose last message is cut, as a killed writer leaves it, is told from a whole one.

import { type FileHandle, open } from 'node:fs/promises';
import { type RecordBatch, type Schema, Vector } from 'apache-arrow';
import { fileError } from '../errors.js';
import { Damage } from './damage.js';
import { guarded, readFully } from './guarded.js';
import { type Dictionaries, loadBatch, loadDictionary } from './load.js';
import { type ArrowMessage, decodeMessage, footerSchema, maxMetadataBytes } from './message.js';

/** Where a message lies; its body follows its metadata. */
interface Span {
  at: number;
  prefix: number;
  metadata: number;
  body: number;
}

interface Index {
  form: 'file' | 'stream';
  schema: Schema;
  batches: Span[];
  batch_rows: number[];
  dictionaries: Span[];
  compressed: Set<number>;
  whole_bytes: number;
  complete: boolean;
}

export class BatchFile {
  /** Of the dictionaries as they stand after so many of their messages. */
  readonly #dictionaries = new Map<number, Promise<Dictionaries>>();

  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly index: Index,
  ) {}

  static async open(path: string): Promise<BatchFile> {
    const handle = await open(path, 'r').catch((error: unknown) => {
      throw fileError(path, error);
    });
    try {
      const index = await guarded(path, 'not a whole Arrow file', async () =>
        new Scan(handle, (await handle.stat()).size).run(),
      );
      return new BatchFile(path, handle, index);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  get schema(): Schema {
    return this.index.schema;
  }

  /** Of the schema. */
  get metadata(): ReadonlyMap<string, string> {
    return this.index.schema.metadata;
  }

  get batch_rows(): readonly number[] {
    return this.index.batch_rows;
  }

  /** End of the last whole schema, dictionary or record batch: what comes after may be cut off and written anew. */
  get whole_bytes(): number {
    return this.index.whole_bytes;
  }

  /** false: it ends inside of a message, or lacks the footer of a file. A stream may end without its end mark. */
  get complete(): boolean {
    return this.index.complete;
  }

  get form(): 'file' | 'stream' {
    return this.index.form;
  }

  /** Of the bodies of its record batches: none, lz4, zstd. */
  get compression(): string {
    const names = [...this.index.compressed].map((type) => ['lz4', 'zstd'][type] ?? 'unknown');
    return names.length === 0 ? 'none' : names.join(' and ');
  }

  /** Columns are views into the one buffer that was read. `columns`: only these. */
  async read(batch: number, columns?: ReadonlySet<string>): Promise<RecordBatch> {
    const span = this.index.batches[batch];
    if (span === undefined) throw new RangeError(`record batch ${batch} of ${this.index.batches.length}`);
    return guarded(this.path, `record batch ${batch + 1}`, async () => {
      const [{ message, body }, dictionaries] = await Promise.all([this.#message(span), this.#dictionariesOf(span)]);
      if (message.kind !== 'batch') throw new Damage('it changed while it was read');
      return loadBatch(this.schema, message.header, body, dictionaries, columns);
    });
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #message({ at, prefix, metadata, body }: Span): Promise<{ message: ArrowMessage; body: Uint8Array }> {
    // The body begins at a multiple of 64, so that columns can be views of any type.
    const before = (64 - ((prefix + metadata) % 64)) % 64;
    const bytes = Buffer.allocUnsafeSlow(before + prefix + metadata + body);
    await readFully(this.handle, bytes.subarray(before), at);
    const begin = before + prefix;
    const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    const message = decodeMessage(plain.subarray(begin, begin + metadata));
    if (message.body !== body) throw new Damage('it changed while it was read');
    return { message, body: plain.subarray(begin + metadata) };
  }

  /** In a stream a dictionary holds until the next message about it; in a file for all batches. */
  #dictionariesOf({ at }: Span): Promise<Dictionaries> {
    const { dictionaries, form } = this.index;
    const count = form === 'file' ? dictionaries.length : dictionaries.filter((span) => span.at < at).length;
    const known = this.#dictionaries.get(count);
    if (known !== undefined) return known;
    const loaded = this.#loadDictionaries(dictionaries.slice(0, count));
    this.#dictionaries.set(count, loaded);
    // Batches are mostly read one after the other; two states are enough where a stream changes its dictionaries.
    const [oldest] = this.#dictionaries.keys();
    if (this.#dictionaries.size > 2 && oldest !== undefined) this.#dictionaries.delete(oldest);
    return loaded;
  }

  async #loadDictionaries(spans: readonly Span[]): Promise<Dictionaries> {
    const known = new Map<number, Vector>();
    for (const span of spans) {
      const { message, body } = await this.#message(span);
      if (message.kind !== 'dictionary') throw new Damage('it changed while it was read');
      const type = this.schema.dictionaries.get(message.id);
      if (type === undefined) throw new Damage(`a dictionary ${message.id} that its schema does not know`);
      const values = new Vector([loadDictionary(type, message.header, body, known)]);
      const before = message.delta ? known.get(message.id) : undefined;
      known.set(message.id, before === undefined ? values : before.concat(values));
    }
    return known;
  }
}

const fileMark = 'ARROW1';
/** Headers are mostly small: one read gets a header whole, and often its neighbours. */
const windowBytes = 2 ** 15;

/** The pass over the headers. */
class Scan {
  #window = Buffer.alloc(0);
  #windowAt = 0;
  readonly #index: Omit<Index, 'schema' | 'form'> = {
    batches: [],
    batch_rows: [],
    dictionaries: [],
    compressed: new Set(),
    whole_bytes: 0,
    complete: false,
  };
  #schema: Schema | undefined;
  #ofFooter = false;

  constructor(
    private readonly handle: FileHandle,
    private readonly size: number,
  ) {}

  async run(): Promise<Index> {
    const form = (await this.#bytes(0, 8)).toString('latin1', 0, 6) === fileMark ? 'file' : 'stream';
    const footer = form === 'file' ? await this.#footer() : undefined;
    // Not every writer puts the schema in front of a file's batches: apache-arrow's leaves it to the footer.
    if (footer !== undefined && footer < this.size - 10 && this.size - footer <= maxMetadataBytes)
      this.#schema = footerSchema(plain(await this.#bytes(footer, this.size - 10 - footer)));
    this.#ofFooter = this.#schema !== undefined;
    await this.#messages(form === 'file' ? 8 : 0, footer ?? this.size);
    if (this.#schema === undefined) throw new Damage('it ends before its schema does');
    if (form === 'file' && footer === undefined) this.#index.complete = false;
    return { ...this.#index, form, schema: this.#schema };
  }

  /** Where the footer of a file begins. */
  async #footer(): Promise<number | undefined> {
    const tail = await this.#bytes(Math.max(0, this.size - 10), 10);
    if (tail.length < 10 || tail.toString('latin1', 4) !== fileMark) return undefined;
    const begin = this.size - 10 - tail.readInt32LE(0);
    return begin >= 8 && begin <= this.size - 10 ? begin : undefined;
  }

  async #messages(begin: number, end: number): Promise<void> {
    let at = begin;
    for (;;) {
      this.#index.whole_bytes = at;
      this.#index.complete = at === end;
      const head = await this.#bytes(at, Math.min(8, end - at));
      if (head.length < 4) return;
      const marked = head.readInt32LE(0) === -1;
      if (marked && head.length < 8) return;
      const prefix = marked ? 8 : 4;
      const metadata = head.readInt32LE(marked ? 4 : 0);
      if (metadata === 0) {
        // The end mark itself can be cut off: a writer that goes on writes its own.
        this.#index.complete = at + prefix === end;
        return;
      }
      if (metadata < 0 || metadata > maxMetadataBytes)
        throw new Damage(
          this.#schema === undefined ? 'it does not begin with a schema' : `the message at byte ${at} has no header`,
        );
      if (at + prefix + metadata > end) return;
      const message = decodeMessage(plain(await this.#bytes(at + prefix, metadata)));
      if (at + prefix + metadata + message.body > end) return;
      this.#add(message, { at, prefix, metadata, body: message.body });
      at += prefix + metadata + message.body;
    }
  }

  #add(message: ArrowMessage, span: Span): void {
    if (message.kind === 'schema') {
      if (this.#schema !== undefined && !this.#ofFooter) throw new Damage('a second schema');
      this.#schema = message.schema;
      this.#ofFooter = false;
      return;
    }
    if (this.#schema === undefined) throw new Damage('it does not begin with a schema');
    if (message.kind === 'dictionary') {
      this.#index.dictionaries.push(span);
      return;
    }
    this.#index.batches.push(span);
    this.#index.batch_rows.push(message.header.length);
    if (message.header.compression) this.#index.compressed.add(message.header.compression.type);
  }

  async #bytes(at: number, length: number): Promise<Buffer> {
    const inside = at - this.#windowAt;
    if (inside < 0 || inside + length > this.#window.length) {
      const wanted = Math.min(Math.max(length, windowBytes), Math.max(0, this.size - at));
      this.#window = Buffer.allocUnsafeSlow(wanted);
      this.#windowAt = at;
      await readFully(this.handle, this.#window, at);
      return this.#window.subarray(0, length);
    }
    return this.#window.subarray(inside, inside + length);
  }
}

const plain = (bytes: Buffer) => new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
