// A record batch's body as columns: views into its bytes, no copy. Every length, offset and index is checked here, so that whoever takes a
// value out of a column later cannot reach outside of it.

import {
  type CompressionType,
  Data,
  DataType,
  type Field,
  RecordBatch,
  Schema,
  Struct,
  Type,
  type Vector,
} from 'apache-arrow';
import { decompress } from './codecs.js';
import { Damage } from './damage.js';
import type { BatchHeader } from './message.js';

export type Dictionaries = ReadonlyMap<number, Vector>;

/** `columns`: the others are left in the body, which saves their decompression. */
export function loadBatch(
  schema: Schema,
  header: BatchHeader,
  body: Uint8Array,
  dictionaries: Dictionaries,
  columns?: ReadonlySet<string>,
): RecordBatch {
  const loader = new Loader(header, body, dictionaries);
  const wanted: Field[] = [];
  const children: Data[] = [];
  for (const field of schema.fields) {
    if (columns !== undefined && !columns.has(field.name)) {
      loader.skip(field.type);
      continue;
    }
    wanted.push(field);
    children.push(loader.column(field, header.length));
  }
  const type = new Struct(wanted);
  const part = columns === undefined ? schema : new Schema(wanted, schema.metadata, schema.dictionaries);
  return new RecordBatch(part, new Data(type, 0, header.length, 0, undefined, children));
}

/** The values of a dictionary. */
export function loadDictionary(type: DataType, header: BatchHeader, body: Uint8Array, known: Dictionaries): Data {
  return new Loader(header, body, known).data(type, header.length);
}

type Numbers = Int32Array | BigInt64Array;

class Loader {
  #node = 0;
  #buffer = 0;
  #variadic = 0;
  /** Bytes that may still be decompressed. */
  #budget: number;

  constructor(
    private readonly header: BatchHeader,
    private readonly body: Uint8Array,
    private readonly dictionaries: Dictionaries,
  ) {
    this.#budget = 2 ** 25 + 2 ** 10 * body.length;
  }

  column(field: Field, rows: number): Data {
    try {
      return this.data(field.type, rows);
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      throw new Damage(`column ${field.name}: ${error.message}`);
    }
  }

  /** `wanted`: the length that the parent needs; children of lists may be longer than what is used of them. */
  data(type: DataType, wanted: number, exact = true): Data {
    const node = this.header.nodes[this.#node++];
    if (node === undefined) throw new Damage('more columns than its record batch has');
    const { length } = node;
    if (exact ? length !== wanted : !(length >= wanted))
      throw new Damage(`${length} values where ${wanted} are needed`);
    if (!(node.nullCount >= 0 && node.nullCount <= length))
      throw new Damage(`${node.nullCount} nulls in ${length} values`);
    if (DataType.isNull(type)) return new Data(type, 0, length, length);
    if (DataType.isUnion(type)) throw new Damage('a union, which is not read');
    const nulls = this.#nulls(length, node.nullCount);
    const make = (
      offsets?: Numbers,
      values?: unknown,
      children: Data[] = [],
      dictionary?: Vector,
      variadic: Uint8Array[] = [],
    ): Data => new Data(type, 0, length, node.nullCount, [offsets, values, nulls], children, dictionary, variadic);

    if (DataType.isStruct(type)) {
      return make(
        undefined,
        undefined,
        type.children.map((field: Field) => this.data(field.type, length, false)),
      );
    }
    if (DataType.isFixedSizeList(type)) {
      if (!(type.listSize >= 0)) throw new Damage(`lists of ${type.listSize} values`);
      return make(undefined, undefined, [this.#child(type, length * type.listSize)]);
    }
    if (DataType.isList(type) || DataType.isMap(type) || DataType.isLargeList(type)) {
      const offsets = this.#offsets(length, DataType.isLargeList(type));
      return make(offsets, undefined, [this.#child(type, lastOf(offsets))]);
    }
    if (
      DataType.isUtf8(type) ||
      DataType.isBinary(type) ||
      DataType.isLargeUtf8(type) ||
      DataType.isLargeBinary(type)
    ) {
      const offsets = this.#offsets(length, DataType.isLargeUtf8(type) || DataType.isLargeBinary(type));
      return make(offsets, this.#bytes(lastOf(offsets)));
    }
    if (DataType.isUtf8View(type) || DataType.isBinaryView(type)) {
      const views = this.#bytes(16 * length);
      const buffers = Array.from({ length: this.#variadicCount() }, () => this.#bytes(0));
      checkViews(views, buffers, length);
      return make(undefined, views, [], undefined, buffers);
    }
    if (DataType.isBool(type)) return make(undefined, this.#bytes(Math.ceil(length / 8)));
    if (DataType.isDictionary(type)) {
      const indices = this.#numbers(type.indices, length);
      const dictionary = this.dictionaries.get(type.id);
      checkIndices(indices, node.nullCount > 0 ? nulls : undefined, dictionary?.length ?? 0);
      if (dictionary === undefined && length > 0) throw new Damage(`its dictionary ${type.id} is missing`);
      return make(undefined, indices, [], dictionary);
    }
    return make(undefined, this.#numbers(type, length));
  }

  /** Passes over a column's nodes and buffers. */
  skip(type: DataType): void {
    this.#node += 1;
    if (DataType.isNull(type)) return;
    if (DataType.isUnion(type)) {
      this.#buffer += type.typeId === Type.DenseUnion || type.mode === 1 ? 2 : 1;
    } else if (DataType.isStruct(type) || DataType.isFixedSizeList(type)) this.#buffer += 1;
    else if (DataType.isUtf8View(type) || DataType.isBinaryView(type)) this.#buffer += 2 + this.#variadicCount();
    else {
      const offsets =
        DataType.isUtf8(type) || DataType.isBinary(type) || DataType.isLargeUtf8(type) || DataType.isLargeBinary(type);
      this.#buffer += offsets ? 3 : 2;
    }
    if (DataType.isDictionary(type)) return;
    for (const field of type.children ?? []) this.skip(field.type);
  }

  #child(type: DataType, wanted: number): Data {
    const field: Field | undefined = type.children[0];
    if (field === undefined) throw new Damage('a list without a type of its values');
    return this.data(field.type, wanted, false);
  }

  #nulls(length: number, count: number): Uint8Array {
    const bytes = this.#bytes(count > 0 ? Math.ceil(length / 8) : 0);
    return count > 0 ? bytes : new Uint8Array(0);
  }

  #offsets(length: number, large: boolean): Numbers {
    const size = large ? 8 : 4;
    // A list of no values may lack its only offset.
    const bytes = aligned(this.#bytes(length === 0 ? 0 : size * (length + 1)), size);
    if (length === 0) return large ? new BigInt64Array(1) : new Int32Array(1);
    const { buffer, byteOffset } = bytes;
    const offsets = large
      ? new BigInt64Array(buffer, byteOffset, length + 1)
      : new Int32Array(buffer, byteOffset, length + 1);
    let before = offsets[0] ?? 0;
    if (before < 0) throw new Damage('an offset below 0');
    for (const offset of offsets) {
      if (offset < before) throw new Damage('offsets that go back');
      before = offset;
    }
    return offsets;
  }

  #numbers(type: DataType, length: number): ArrayLike<unknown> {
    const make: {
      readonly BYTES_PER_ELEMENT: number;
      new (buffer: ArrayBufferLike, at: number, length: number): ArrayLike<unknown>;
    } = type.ArrayType;
    const each = valueBytes(type) / make.BYTES_PER_ELEMENT;
    if (!(each >= 1)) throw new Damage('a type whose values have no size');
    const { buffer, byteOffset } = aligned(this.#bytes(length * valueBytes(type)), make.BYTES_PER_ELEMENT);
    return new make(buffer, byteOffset, length * each);
  }

  #variadicCount(): number {
    const count = this.header.variadicBufferCounts[this.#variadic++] ?? 0;
    if (!(count >= 0 && count <= this.header.buffers.length)) throw new Damage(`${count} buffers of one column`);
    return count;
  }

  /** The next buffer, which must have at least so many bytes. */
  #bytes(least: number): Uint8Array {
    const region = this.header.buffers[this.#buffer++];
    if (region === undefined) throw new Damage('more buffers than its record batch has');
    const { offset, length } = region;
    if (!(offset >= 0 && length >= 0 && offset + length <= this.body.length))
      throw new Damage(`a buffer at ${offset} + ${length} of a body of ${this.body.length} bytes`);
    const bytes = this.#plain(this.body.subarray(offset, offset + length), this.header.compression?.type);
    if (bytes.length < least) throw new Damage(`a buffer of ${bytes.length} bytes where ${least} are needed`);
    return bytes;
  }

  /** A compressed buffer begins with the size of what it holds; −1: it is not compressed after all. */
  #plain(bytes: Uint8Array, compression: CompressionType | undefined): Uint8Array {
    if (compression === undefined || bytes.length === 0) return bytes;
    if (bytes.length < 8) throw new Damage('a compressed buffer without its size');
    const size = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigInt64(0, true));
    const rest = bytes.subarray(8);
    if (size === -1) return rest;
    this.#budget -= size;
    if (!(size >= 0) || this.#budget < 0)
      throw new Damage(`a buffer of ${rest.length} compressed bytes claims to be ${size} bytes`);
    return size === 0 ? new Uint8Array(0) : decompress(compression, rest, size);
  }
}

function valueBytes(type: DataType): number {
  if (DataType.isFixedSizeBinary(type)) return type.byteWidth;
  if (DataType.isDecimal(type) || DataType.isInt(type) || DataType.isTime(type)) return type.bitWidth / 8;
  if (DataType.isDate(type)) return type.unit === 0 ? 4 : 8;
  if (DataType.isInterval(type)) return [4, 8, 16][type.unit] ?? 0;
  if (DataType.isFloat(type)) return [2, 4, 8][type.precision] ?? 0;
  if (DataType.isTimestamp(type) || DataType.isDuration(type)) return 8;
  throw new Damage(`a type that is not read (${type})`);
}

const aligned = (bytes: Uint8Array, size: number) => (bytes.byteOffset % size === 0 ? bytes : bytes.slice());

const lastOf = (offsets: Numbers) => Number(offsets[offsets.length - 1] ?? 0);

function checkIndices(indices: ArrayLike<unknown>, valid: Uint8Array | undefined, length: number): void {
  for (let place = 0; place < indices.length; ++place) {
    if (valid !== undefined && ((valid[place >> 3] ?? 0) & (1 << (place & 7))) === 0) continue;
    const index = Number(indices[place]);
    if (!(index >= 0 && index < length)) throw new Damage(`index ${index} into a dictionary of ${length}`);
  }
}

/** A view is a length and either up to 12 bytes or a buffer's number and an offset into it. */
function checkViews(views: Uint8Array, buffers: readonly Uint8Array[], length: number): void {
  const view = new DataView(views.buffer, views.byteOffset, views.byteLength);
  for (let at = 0; at < 16 * length; at += 16) {
    const size = view.getInt32(at, true);
    if (size < 0) throw new Damage(`a value of ${size} bytes`);
    if (size <= 12) continue;
    const buffer = buffers[view.getInt32(at + 8, true)];
    const begin = view.getInt32(at + 12, true);
    if (buffer === undefined || begin < 0 || begin + size > buffer.length)
      throw new Damage('a value outside of the buffers of its column');
  }
}
