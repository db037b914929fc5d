// Added tokens in text, found as added_vocabulary.rs of Python's tokenizers finds them: leftmost longest; single_word is refused inside a
// word; lstrip takes white space along that no token before has taken, rstrip any, so that a token of white space may come twice.

import type { AddedToken } from './tokenizer_json.js';

export interface Section {
  text: string;
  /** The token that this section is; undefined: text like any other. */
  token: AddedToken | undefined;
}

const endsWithWord = /[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]$/u;
const startsWithWord = /^[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]/u;
const isSpace = /^\p{White_Space}$/u;

/** tokens: the text that is looked for → its token. */
export function splitter(tokens: ReadonlyMap<string, AddedToken>): (text: string) => Section[] {
  if (tokens.size === 0) return (text) => [{ text, token: undefined }];
  const longestFirst = [...tokens.keys()].sort((a, b) => b.length - a.length);
  const pattern = new RegExp(longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|'), 'g');
  return (text) => {
    const sections: Section[] = [];
    let begin = 0; // of what no token has taken
    const plain = (end: number): void => {
      if (end > begin) sections.push({ text: text.slice(begin, end), token: undefined });
    };
    for (const match of text.matchAll(pattern)) {
      const token = tokens.get(match[0]);
      let start = match.index;
      let end = start + match[0].length;
      if (token === undefined || (token.single_word && isInsideWord(text, start, end))) continue;
      if (token.lstrip) while (start > begin && isSpace.test(text.charAt(start - 1))) start -= 1;
      if (token.rstrip) while (end < text.length && isSpace.test(text.charAt(end))) end += 1;
      plain(start);
      sections.push({ text: token.content, token });
      begin = end;
    }
    plain(text.length);
    return sections;
  };
}

/** Two code units on either side: one character may be that long. */
function isInsideWord(text: string, start: number, end: number): boolean {
  return endsWithWord.test(text.slice(Math.max(0, start - 2), start)) || startsWithWord.test(text.slice(end, end + 2));
}
