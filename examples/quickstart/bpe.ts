// A byte-level BPE trainer (Sennrich et al. 2016; bytes and word pattern as GPT-2 has them). What it returns is the content of a tokenizer.json
// that Hugging Face's tokenizers, Python's and JavaScript's, load.

const WORD = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

export function trainBpe(texts: Iterable<string>, options: { vocab_size: number; eos: string }) {
  const letters = byteLetters();
  const words = countWords(texts, letters);
  const vocab = [options.eos, ...letters.toSorted()];
  const merges: [string, string][] = [];
  while (vocab.length < options.vocab_size) {
    const best = mostFrequentPair(words);
    if (!best) break;
    const [left, right] = best;
    merges.push(best);
    vocab.push(left + right);
    for (const word of words) merge(word.pieces, left, right);
  }
  const special = {
    id: 0,
    content: options.eos,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  };
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab.map((token, id) => [token, id])),
      merges,
    },
  };
}

interface Word {
  pieces: string[];
  count: number;
}

function countWords(texts: Iterable<string>, letters: readonly string[]): Word[] {
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [word] of text.matchAll(WORD)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return Array.from(counts, ([word, count]) => ({
    count,
    pieces: Array.from(Buffer.from(word), (byte) => letters[byte] ?? ''),
  }));
}

/** The most frequent pair of neighbours; of equals the first in order of their letters, so that training is reproducible. */
function mostFrequentPair(words: readonly Word[]): [string, string] | undefined {
  const pairs = new Map<string, { pair: [string, string]; count: number }>();
  for (const { pieces, count } of words) {
    for (const [place, right] of pieces.entries()) {
      const left = pieces[place - 1];
      if (left === undefined) continue;
      const key = `${left} ${right}`;
      const entry = pairs.get(key);
      if (entry) entry.count += count;
      else pairs.set(key, { pair: [left, right], count });
    }
  }
  let best: string | undefined;
  for (const [key, { count }] of pairs) {
    const most = best === undefined ? 1 : (pairs.get(best)?.count ?? 0);
    if (count > most || (count === most && best !== undefined && key < best)) best = key;
  }
  return best === undefined ? undefined : pairs.get(best)?.pair;
}

function merge(pieces: string[], left: string, right: string): void {
  for (let place = 0; place + 1 < pieces.length; ++place) {
    if (pieces[place] === left && pieces[place + 1] === right) pieces.splice(place, 2, left + right);
  }
}

/** A visible letter for each byte, as GPT-2 chose them: printable Latin-1 stands for itself, the other bytes for letters from 256 on. */
function byteLetters(): string[] {
  const printable = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}
