// A Parquet file, a row group at a time. hyparquet decodes it, but sees only what was checked here: a footer whose lengths hold, and columns whose
// pages are unpacked and counted (pages.ts). What it throws is told as an error of the file.

import { type FileHandle, open } from 'node:fs/promises';
import {
  type FileMetaData,
  parquetMetadata,
  parquetRead,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from 'hyparquet';
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getTreePath } from 'hyparquet/src/schema.js';
import { decode } from '../arrow/cells.js';
import { Damage } from '../arrow/damage.js';
import { guarded, readFully } from '../arrow/guarded.js';
import { fileError } from '../errors.js';
import { unpackedChunk } from './pages.js';
import { CompactReader } from './thrift.js';

type ColumnMeta = NonNullable<RowGroup['columns'][number]['meta_data']>;
type Chunk = RowGroup['columns'][number] & { meta_data: ColumnMeta };

const mark = 'PAR1';

export class ParquetFile {
  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly size: number,
    private readonly metadata: FileMetaData,
    private readonly tree: SchemaTree,
  ) {}

  static async open(path: string): Promise<ParquetFile> {
    const handle = await open(path, 'r').catch((error: unknown) => {
      throw fileError(path, error);
    });
    try {
      return await guarded(path, 'not a whole Parquet file', async () => {
        const { size } = await handle.stat();
        const metadata = await readFooter(handle, size);
        for (const group of metadata.row_groups) checkRows(group, size);
        return new ParquetFile(path, handle, size, metadata, parquetSchema(metadata));
      });
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Of the columns at the top. */
  get names(): string[] {
    return this.tree.children.map(({ element }) => element.name);
  }

  get group_rows(): number[] {
    return this.metadata.row_groups.map(({ num_rows }) => Number(num_rows));
  }

  /** The codecs of its columns, in small letters. */
  get compression(): string {
    const codecs = new Set(
      this.metadata.row_groups.flatMap(({ columns }) => columns.map((column) => column.meta_data?.codec)),
    );
    codecs.delete('UNCOMPRESSED');
    return [...codecs].map((codec) => String(codec).toLowerCase()).join(' and ') || 'none';
  }

  /** The rows of one group as objects with these columns. */
  async rows(group: number, columns: readonly string[]): Promise<Record<string, unknown>[]> {
    const found = this.metadata.row_groups[group];
    if (found === undefined) throw new RangeError(`row group ${group} of ${this.metadata.row_groups.length}`);
    return guarded(this.path, `row group ${group + 1}`, async () => {
      const checked = await this.#checked(found, columns);
      let rows: Record<string, unknown>[] = [];
      await parquetRead({
        ...checked,
        columns: [...columns],
        rowFormat: 'object',
        parsers: { stringFromBytes: (bytes) => (bytes === undefined ? bytes : decode(bytes)) },
        onComplete: (complete) => {
          rows = complete;
        },
      });
      if (rows.length !== Number(found.num_rows))
        throw new Damage(`${rows.length} rows where ${found.num_rows} are told`);
      return rows;
    });
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  /** The columns of a group as a file of their own, in memory, with nothing left to unpack. */
  async #checked(group: RowGroup, names: readonly string[]) {
    const parts: Uint8Array[] = [];
    const columns: RowGroup['columns'] = [];
    let at = 0;
    for (const column of group.columns) {
      if (!isChunk(column)) throw new Damage('a column in another file, which is not read');
      const meta = column.meta_data;
      if (!names.includes(meta.path_in_schema[0] ?? '')) continue;
      const chunk = await this.#chunk(meta, Number(group.num_rows));
      const size = chunk.reduce((sum, part) => sum + part.length, 0);
      parts.push(...chunk);
      columns.push({
        file_offset: 0n,
        meta_data: {
          type: meta.type,
          encodings: meta.encodings,
          path_in_schema: meta.path_in_schema,
          codec: 'UNCOMPRESSED',
          num_values: meta.num_values,
          total_uncompressed_size: BigInt(size),
          total_compressed_size: BigInt(size),
          data_page_offset: BigInt(at),
        },
      });
      at += size;
    }
    const { buffer, byteOffset } = Buffer.concat(parts);
    const whole = buffer.slice(byteOffset, byteOffset + at);
    return {
      file: { byteLength: at, slice: (begin: number, end?: number) => whole.slice(begin, end) },
      metadata: {
        ...this.metadata,
        num_rows: group.num_rows,
        row_groups: [{ columns, total_byte_size: BigInt(at), num_rows: group.num_rows }],
      },
    };
  }

  async #chunk(meta: ColumnMeta, rows: number): Promise<Uint8Array[]> {
    const name = meta.path_in_schema.join('.');
    try {
      const begin = Number(meta.dictionary_page_offset || meta.data_page_offset);
      const length = Number(meta.total_compressed_size);
      if (!(begin >= 4 && length >= 0 && begin + length <= this.size))
        throw new Damage(`${length} bytes at ${begin} of a file of ${this.size}`);
      const path = getTreePath(this.tree, meta.path_in_schema);
      const element = path.at(-1)?.element;
      if (element === undefined || path.at(-1)?.children.length !== 0 || element.type !== meta.type)
        throw new Damage('its schema does not have such a column');
      const values = Number(meta.num_values);
      if (!(values >= 0 && values <= mostValues(this.size)))
        throw new Damage(`${values} values in a file of ${this.size} bytes`);
      const bytes = Buffer.allocUnsafeSlow(length);
      await readFully(this.handle, bytes, begin);
      return unpackedChunk(bytes, {
        codec: meta.codec,
        type: meta.type,
        type_length: element.type_length,
        max_definition: getMaxDefinitionLevel(path),
        max_repetition: getMaxRepetitionLevel(path),
        values,
        rows,
      });
    } catch (error) {
      throw error instanceof Damage ? new Damage(`column ${name}: ${error.message}`) : error;
    }
  }
}

/** A value takes at least some bits of the file; runs of one value are why a few more are taken. */
const mostValues = (size: number) => 2 ** 16 + 64 * size;

function checkRows({ num_rows }: RowGroup, size: number): void {
  const rows = Number(num_rows);
  if (!(rows >= 0 && rows <= mostValues(size)))
    throw new Damage(`a row group of ${rows} rows in a file of ${size} bytes`);
}

const isChunk = (column: RowGroup['columns'][number]): column is Chunk =>
  column.meta_data !== undefined && !column.file_path;

/** The footer stands at the end, its length behind it. */
async function readFooter(handle: FileHandle, size: number): Promise<FileMetaData> {
  if (size < 12) throw new Damage(`${size} bytes are too few`);
  const ends = Buffer.alloc(12);
  await readFully(handle, ends.subarray(0, 4), 0);
  await readFully(handle, ends.subarray(4), size - 8);
  if (ends.toString('latin1', 0, 4) !== mark) throw new Damage('it does not begin with PAR1');
  if (ends.toString('latin1', 8) !== mark)
    throw new Damage('it does not end with PAR1: it was cut, or its writer did not end');
  const length = ends.readUInt32LE(4);
  if (length > size - 12) throw new Damage(`a footer of ${length} bytes in a file of ${size}`);
  const footer = Buffer.alloc(length + 8);
  await readFully(handle, footer, size - 8 - length);
  new CompactReader(footer.subarray(0, length), 0).struct();
  return parquetMetadata(footer, { geoparquet: false });
}
