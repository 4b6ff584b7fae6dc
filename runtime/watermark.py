"""Green lists: which tokens a watermark favours, drawn from a hash of the tokens before.

The lists are those of `transformers`, so its detector reads what smelt marks: a Mersenne Twister
seeded by the hash, and torch's shuffle (swap place i with one of the places from i on).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from smelt.runtime.settings import Watermark

_TABLE = 1_000_003
_TRIED = 40  # the likeliest tokens that `selfhash` looks at


def green(mark: Watermark, tokens: Sequence[int], likeliest: Sequence[int], vocab: int) -> set[int]:
    """The tokens to favour after ``tokens``; none while they are fewer than the context.

    ``likeliest`` are the best tokens in falling order, of which `selfhash` looks at forty.
    """
    if len(tokens) < mark.context_width:
        return set()
    size = int(vocab * mark.greenlist_ratio)
    if mark.seeding_scheme == "lefthash":
        return set(_shuffled(mark.hashing_key * tokens[-1], vocab, size))
    found = set()
    for token in likeliest[:_TRIED]:
        seed = _self_hash(mark, [*tokens, token])
        if token in _shuffled(seed, vocab, size):
            found.add(token)
    return found


def _self_hash(mark: Watermark, tokens: Sequence[int]) -> int:
    """The least hash of the last tokens with the very last, in 64 bits that wrap."""
    table = _fixed_table(mark.hashing_key)
    recent = np.asarray(tokens[-mark.context_width :], np.int64)
    hashes = mark.hashing_key * (table[recent % _TABLE] + 1) * (table[tokens[-1] % _TABLE] + 1)
    return int(hashes.min())


@lru_cache(maxsize=2)
def _fixed_table(key: int) -> NDArray[np.int64]:
    return np.asarray(_shuffled(key, _TABLE, _TABLE), np.int64)


@lru_cache(maxsize=64)
def _shuffled(seed: int, count: int, wanted: int) -> tuple[int, ...]:
    """The first ``wanted`` of a random order of 0 … count - 1."""
    words = _words((seed % (2**64 - 1)) & 0xFFFFFFFF, wanted)
    order = np.arange(count)
    places = np.arange(len(words))
    others = (places + words % (count - places)).tolist()
    values = order.tolist()
    for place, other in enumerate(others):
        values[place], values[other] = values[other], values[place]
    return tuple(values[:wanted])


def _words(seed: int, count: int) -> NDArray[np.int64]:
    random = np.random.RandomState(seed)
    return random.randint(0, 2**32, size=count, dtype=np.uint32).astype(np.int64)
