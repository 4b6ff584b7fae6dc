"""The random numbers of generation: Philox 4x32-10, a pure function of (seed, row, step).

Counter-based, so that a token depends on nothing but the seed and its place: the same numbers in
Python and C++, whatever was generated before, in a batch or alone.

    key     = (seed mod 2^32, seed div 2^32)
    counter = (step, row, draw, 0)
    (w0, w1, w2, w3) = philox4x32_10(counter, key)
    u = ((w0 >> 5) * 2^26 + (w1 >> 6)) / 2^53        in [0, 1), exact in a double

``step`` is 0 for the first new token; ``row`` is the row of the batch; ``draw`` is 0 where one
number is enough, and counts from 1 where beams draw several. Source: Salmon et al.,
"Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from collections.abc import Sequence

_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF


def philox4x32_10(counter: Sequence[int], key: Sequence[int]) -> tuple[int, int, int, int]:
    """Ten rounds of Philox over four 32-bit words with a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _MASK, (p0 >> 32) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3


def uniform(seed: int, row: int, step: int, *, draw: int = 0) -> float:
    """A double in [0, 1) with 53 random bits for a place in a generation."""
    key = (seed & _MASK, (seed >> 32) & _MASK)
    w0, w1, _, _ = philox4x32_10((step & _MASK, row & _MASK, draw, 0), key)
    return ((w0 >> 5) * 67108864 + (w1 >> 6)) / 9007199254740992.0
