// .jsonl, also .gz: a JSON object a line. Blank lines are skipped; line ends may be \n or \r\n.

import { chunks, firstBytes, isGzip, parseJson, RowBytes, withoutMark } from '../chunks.js';
import type { RawRow } from '../rows.js';
import type { Reader } from './reader.js';

const newline = 0x0a;

async function* read(file: string): AsyncGenerator<RawRow> {
  const bytes = new RowBytes();
  let line = 1;
  let first = true;
  for await (const chunk of chunks(file, () => line)) {
    const rest = first ? withoutMark(chunk) : chunk;
    first = false;
    let begin = 0;
    for (;;) {
      const end = rest.indexOf(newline, begin);
      bytes.add(rest.subarray(begin, end < 0 ? rest.length : end), { file, line });
      if (end < 0) break;
      const value = parseJson(bytes.take(), { file, line });
      if (value !== undefined) yield { place: { file, line }, value };
      line += 1;
      begin = end + 1;
    }
  }
  const value = parseJson(bytes.take(), { file, line });
  if (value !== undefined) yield { place: { file, line }, value };
}

export const jsonl: Reader<'jsonl'> = {
  name: 'jsonl',
  endings: ['.jsonl', '.ndjson', '.jsonl.gz', '.ndjson.gz'],
  detail: async (path) => (isGzip(await firstBytes(path, 2)) ? 'JSON lines, gzip' : 'JSON lines'),
  read,
};
