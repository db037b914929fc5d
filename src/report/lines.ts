// The lines of a text file, one by one, whatever the file holds: no line longer than a limit is kept in memory.

import { createReadStream } from 'node:fs';

const LONGEST = 1 << 20;

export interface FileLine {
  /** undefined: longer than any line that is read. */
  text: string | undefined;
  number: number;
  /** False for what stands behind the last line's end. */
  ended: boolean;
}

export async function* fileLines(path: string): AsyncGenerator<FileLine> {
  let number = 1;
  let rest = '';
  let tooLong = false;
  for await (const chunk of createReadStream(path, { encoding: 'utf8' })) {
    const pieces = String(chunk).split('\n');
    for (const [place, piece] of pieces.entries()) {
      rest += tooLong ? '' : piece;
      if (rest.length > LONGEST) [rest, tooLong] = ['', true];
      if (place === pieces.length - 1) continue;
      yield { text: tooLong ? undefined : rest, number, ended: true };
      number += 1;
      [rest, tooLong] = ['', false];
    }
  }
  if (rest !== '' || tooLong) yield { text: tooLong ? undefined : rest, number, ended: false };
}
