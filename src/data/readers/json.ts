// .json, also .gz: a list of objects, or objects one after the other (one row, or JSON lines under the other name). The list is cut into its objects
// byte by byte, so a file of any size is read a row at a time; what is inside an object is left to JSON.parse.

import { chunks, firstBytes, isGzip, parseJson, RowBytes, withoutMark } from '../chunks.js';
import { dataError } from '../errors.js';
import type { Place, RawRow } from '../rows.js';
import type { Reader } from './reader.js';

const byte = (character: string) => character.charCodeAt(0);
const [quote, backslash, comma, newline] = [byte('"'), byte('\\'), byte(','), byte('\n')];
const [openBrace, closeBrace, openList, closeList] = [byte('{'), byte('}'), byte('['), byte(']')];
const spaces = new Set([byte(' '), byte('\t'), byte('\r'), newline]);

const CUT = 'The file was cut short; copy or write it again.';

async function* read(file: string): AsyncGenerator<RawRow> {
  const splitter = new ObjectSplitter(file);
  let first = true;
  for await (const chunk of chunks(file, () => splitter.line)) {
    yield* splitter.push(first ? withoutMark(chunk) : chunk);
    first = false;
  }
  splitter.end();
}

/** Where between two objects the text stands. */
type Between = 'start' | 'wants_row' | 'after_row' | 'after_comma' | 'done';

class ObjectSplitter {
  #bytes = new RowBytes();
  #line = 1;
  #rowLine = 1;
  /** Of braces and brackets, inside an object; 0 between two. */
  #depth = 0;
  #inString = false;
  #escaped = false;
  #inList = false;
  #between: Between = 'start';

  constructor(private readonly file: string) {}

  *push(chunk: Buffer): Generator<RawRow> {
    let begin = 0; // of the part of this chunk that belongs to the object
    for (let place = 0; place < chunk.length; ++place) {
      const character = chunk[place];
      if (character === undefined) break;
      if (this.#depth === 0) {
        if (this.#startsRow(character)) begin = place;
      } else if (this.#endsRow(character)) {
        this.#bytes.add(chunk.subarray(begin, place + 1), this.#place);
        yield { place: this.#place, value: parseJson(this.#bytes.take(), this.#place) };
      }
      if (character === newline) this.#line += 1;
    }
    if (this.#depth > 0) this.#bytes.add(chunk.subarray(begin), this.#place);
  }

  end(): void {
    if (this.#depth > 0) throw dataError(`${this.file}:${this.#rowLine}: the file ends inside of this row`, CUT);
    if (this.#inList && this.#between !== 'done')
      throw dataError(`${this.file}:${this.#line}: the file ends before the ] of its list`, CUT);
  }

  get line(): number {
    return this.#line;
  }

  get #place(): Place {
    return { file: this.file, line: this.#rowLine };
  }

  #startsRow(character: number): boolean {
    if (spaces.has(character)) return false;
    const between = this.#between;
    if (character === openBrace && between !== 'done' && (between !== 'after_row' || !this.#inList)) {
      this.#depth = 1;
      this.#rowLine = this.#line;
      return true;
    }
    if (character === openList && between === 'start') {
      this.#inList = true;
      this.#between = 'wants_row';
    } else if (character === comma && this.#inList && between === 'after_row') this.#between = 'after_comma';
    else if (character === closeList && this.#inList && (between === 'wants_row' || between === 'after_row'))
      this.#between = 'done';
    else {
      throw dataError(
        `${this.file}:${this.#line}: ${JSON.stringify(String.fromCharCode(character))} where a row was expected`,
        'A .json file holds a list of objects, [{…}, {…}].',
      );
    }
    return false;
  }

  #endsRow(character: number): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (character === backslash) this.#escaped = true;
      else if (character === quote) this.#inString = false;
      return false;
    }
    if (character === quote) this.#inString = true;
    else if (character === openBrace || character === openList) this.#depth += 1;
    else if (character === closeBrace || character === closeList) this.#depth -= 1;
    if (this.#depth > 0) return false;
    this.#between = 'after_row';
    return true;
  }
}

export const json: Reader<'json'> = {
  name: 'json',
  endings: ['.json', '.json.gz'],
  detail: async (path) => (isGzip(await firstBytes(path, 2)) ? 'JSON, gzip' : 'JSON'),
  read,
};
