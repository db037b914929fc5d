// What a format of files is to the rest: a name, how it is told, and rows one after the other.

import type { RawRow } from '../rows.js';

export interface Reader<Name extends string> {
  /** Of data.format. */
  name: Name;
  endings: readonly string[];
  /** Whether a file that begins so is of this format, whatever its name. */
  begins?(start: Buffer): boolean;
  /** The file in words: "Arrow stream, 3 record batches, 3000 rows, zstd". */
  detail(path: string): Promise<string>;
  /** Streams: holds a row or a record batch at a time. */
  read(path: string): AsyncGenerator<RawRow>;
}
