"""Writes test/golden/mixed_texts.json: what Python's tokenizers make of 10,000 mixed texts, as a hash of each block of texts.
Usage: python mixed_texts.py DATA_FOLDER   (where tokenizers/ and models/ lie; their files do not get into the output)
Of each block and tokenizer: 16 hex digits of the SHA-256 of the ids, of the decoded text, of the decoded text without special tokens.
Hashed text: ids as decimals with spaces, a line a text; texts in UTF-8, each followed by a zero byte."""
import hashlib
import json
import pathlib
import sys

from text_generator import mixed_texts
from tokenization import GOLDEN, ODD, PINNED, REAL, AddedToken, Tokenizer, bpe, decoders, normalizers, pre_tokenizers, tiny_bytes, tiny_pieces
from tokenizers import Regex

SEED, COUNT, BLOCK = 20260718, 10_000, 50
LONG = {"letters": ("a", 20_000), "words": (" the little fox ran", 6_000), "spaces": (" ", 20_000), "newlines": ("\n", 9_999), "cjk": ("\u65e5\u672c", 9_000), "emoji": ("\U0001f642", 5_000),
        "mixed": ("x 1,\u00e9\n", 15_000)}


def digest(lines: list[str], end: str) -> str:
    return hashlib.sha256("".join(line + end for line in lines).encode()).hexdigest()[:16]


def hashes(tokenizer: Tokenizer, texts: list[str]) -> str:
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return " ".join([digest([" ".join(map(str, i)) for i in ids], "\n"), digest([tokenizer.decode(i, skip_special_tokens=False) for i in ids], "\0"),
                     digest([tokenizer.decode(i) for i in ids], "\0")])


def tiny_split() -> Tokenizer:
    """Llama 3's kind: a regular expression cuts, then bytes; a word that is a token is taken whole, though no merges lead to it."""
    model = bpe(["<|eos|>", *sorted(pre_tokenizers.ByteLevel.alphabet())], ["Ġthe", "ĠĠ", "ing", "ĊĊ", "ðŁĻ", "12", "Ġfox"], ignore_merges=True)
    t = Tokenizer(model)
    vocab = json.loads(t.to_str())
    vocab["model"]["vocab"] |= {"ĠHello": 400, "WORD": 401, "Ġquick": 402}
    t = Tokenizer.from_str(json.dumps(vocab))
    t.normalizer = normalizers.NFC()
    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|eos|>"])
    t.add_tokens([*ODD[:3], AddedToken("\n\n\n", normalized=True)])
    return t


def legacy(path: pathlib.Path) -> Tokenizer:
    """A space before every section of a text, not before the first only: what transformers makes of `"legacy": true`."""
    content = json.loads(path.read_text())
    content["pre_tokenizer"]["prepend_scheme"] = "always"
    return Tokenizer.from_str(json.dumps(content))


def main(data: pathlib.Path) -> None:
    tokenizers = {name: Tokenizer.from_file(str(data / folder / "tokenizer.json")) for name, folder in REAL.items()} | {"tiny-bytes": tiny_bytes(), "tiny-pieces": tiny_pieces(), "tiny-split": tiny_split(),
                                                                                                                                                    "mistral-legacy": legacy(data / REAL["mistral"] / "tokenizer.json")}
    texts = mixed_texts(SEED, COUNT)
    blocks = [texts[i:i + BLOCK] for i in range(0, COUNT, BLOCK)]
    content = dict(versions=PINNED, seed=SEED, count=COUNT, block=BLOCK, texts=[digest(block, "\0") for block in blocks], long=LONG, tiny_split=json.loads(tokenizers["tiny-split"].to_str()),
                   hashes={name: [hashes(t, block) for block in blocks] for name, t in tokenizers.items()},
                   long_hashes={name: {kind: hashes(t, [text * times]) for kind, (text, times) in LONG.items()} for name, t in tokenizers.items()})
    path = GOLDEN / "mixed_texts.json"
    path.write_text(json.dumps(content, indent=0) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
