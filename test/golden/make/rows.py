"""Random token rows, seeded by name: sequences, demonstrations that end with EOS, pairs that share a prompt."""
import random

from models import BOS, EOS


def ids(rng: random.Random, count: int, vocab: int) -> list[int]:
    return [rng.randrange(EOS + 1, vocab) for _ in range(count)]


def prompt(rng: random.Random, count: int, vocab: int) -> list[int]:
    return [BOS] + ids(rng, count - 1, vocab)


def response(rng: random.Random, count: int, vocab: int) -> list[int]:
    """`count` tokens, EOS the last."""
    return ids(rng, count - 1, vocab) + [EOS]


def demonstrations(rng: random.Random, lengths: list[tuple[int, int]], vocab: int) -> list[dict]:
    return [dict(prompt_ids=prompt(rng, p, vocab), response_ids=response(rng, r, vocab)) for p, r in lengths]


def pairs(rng: random.Random, vocab: int) -> list[dict]:
    """The second generated side was cut: no EOS. The third starts as the real one does."""
    rows = [dict(prompt_ids=prompt(rng, p, vocab), real_ids=response(rng, r, vocab), generated_ids=response(rng, g, vocab))
            for p, r, g in ((6, 9, 17), (1, 12, 5), (15, 4, 8))]
    rows[1]["generated_ids"][-1] = EOS + 1
    rows[2]["generated_ids"][:2] = rows[2]["real_ids"][:2]
    return rows
