// What a format of files is to the rest: a name, the endings of its files, and rows one after the other.

import type { RawRow } from '../rows.js';

export interface Reader<Name extends string> {
  /** Of data.format. */
  name: Name;
  endings: readonly string[];
  /** Streams: holds one row at a time. */
  read(path: string): AsyncGenerator<RawRow>;
}
