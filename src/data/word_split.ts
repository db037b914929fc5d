// Speed for tokenizers of SentencePiece's kind, whose whole text is one piece to BPE: cut before each run of ▁, the library's cache of words
// works, and a long text costs no more than its words. Exact where no merge makes a token that has ▁ behind another character, which is
// checked: then nothing ever joins across such a cut, and the order of merges on either side does not depend on the other.

const crosses = /[^▁]▁/u;
const words = /▁+[^▁]*|[^▁]+/gu;

export function splitWords(model: unknown): void {
  if (typeof model !== 'function' || !('merges' in model) || !('encode' in model)) return;
  const { merges, encode } = model;
  if (!Array.isArray(merges) || typeof encode !== 'function') return;
  const joined = merges.map((merge: unknown) => (Array.isArray(merge) ? merge.join('') : String(merge)));
  if (!joined.some((token) => token.startsWith('▁')) || joined.some((token) => crosses.test(token))) return;
  const encodeAll = (pieces: readonly string[]): unknown =>
    Reflect.apply(encode, model, [pieces.flatMap((piece) => piece.match(words) ?? [])]);
  Reflect.set(model, 'encode', encodeAll);
}
