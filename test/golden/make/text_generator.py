"""Mixed texts from a seed: the same texts as test/support/mixed_texts.ts, which has this algorithm in TypeScript.
Fragments come from test/golden/text_fragments.json; numbers from xorshift32 (Marsaglia 2003)."""
import json
import pathlib
import re

FRAGMENTS: list[list[str]] = json.loads((pathlib.Path(__file__).resolve().parent.parent / "text_fragments.json").read_text())
# First and last code point of the scripts that words are made of.
SCRIPTS = [(0x61, 0x7A), (0x41, 0x5A), (0xC0, 0x17F), (0x391, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA), (0x620, 0x64A), (0x905, 0x94D), (0xE01, 0xE4E),
           (0x3041, 0x30FE), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3)]
SPACES = " \t\n\r\v\f\u00a0\u0085\u2003\u2028\u3000\ufeff\u200b"


class Rng:
    def __init__(self, seed: int):
        self.state = seed

    def below(self, limit: int) -> int:
        x = self.state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self.state = x
        return x % limit


def part(rng: Rng) -> str:
    kind = rng.below(16)
    if kind < 7:
        group = FRAGMENTS[rng.below(len(FRAGMENTS))]
        return group[rng.below(len(group))]
    if kind < 10:
        first, last = SCRIPTS[rng.below(len(SCRIPTS))]
        word = "".join(chr(first + rng.below(last - first + 1)) for _ in range(1 + rng.below(12)))
        return " " + word if rng.below(2) else word
    if kind == 10:
        return SPACES[rng.below(len(SPACES))] * (1 + rng.below(6))
    if kind == 11:  # any code unit, halves of surrogate pairs too
        return "".join(chr(rng.below(0x10000)) for _ in range(1 + rng.below(4)))
    if kind == 12:  # beyond the basic plane, assigned or not
        return chr(0x10000 + rng.below(0x100000))
    if kind == 13:
        return str(rng.below(10 ** (1 + rng.below(9))))
    if kind == 14:  # a letter with marks
        return chr(0x61 + rng.below(26)) + "".join(chr(0x300 + rng.below(0x70)) for _ in range(1 + rng.below(5)))
    if rng.below(24):
        return chr(rng.below(0x20))
    group = FRAGMENTS[rng.below(len(FRAGMENTS))]
    return group[rng.below(len(group))] * (40 + rng.below(200))


def whole_characters(text: str) -> str:
    """Halves that stand together are a character; what is left of them becomes U+FFFD, as in every UTF-8 file."""
    units = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return re.sub("[\ud800-\udfff]", "\ufffd", units)


def mixed_texts(seed: int, count: int) -> list[str]:
    rng = Rng(seed)
    return [whole_characters("".join(part(rng) for _ in range(1 + rng.below(14)))) for _ in range(count)]
