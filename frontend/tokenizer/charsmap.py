"""SentencePiece's precompiled map of characters, and the graphemes over which it is applied.

The library looks up whole graphemes of less than six bytes, so what a grapheme is must be exactly
its own notion. It is asked with a map that turns every character into X: a short grapheme gives
one X, a longer one X for each character.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from tokenizers import normalizers

from smelt.errors import UnsupportedError
from smelt.frontend.tokenizer.regex import Expression
from smelt.frontend.tokenizer.regex import repeat as repeated
from smelt.frontend.tokenizer.unicode import ALL, ASSIGNED

Array = np.ndarray[Any, Any]
Part = Callable[[int], int]
ACUTE, JOINER, KA, VIRAMA = "\u0301", "\u200d", "\u0915", "\u094d"
LEAF, LABEL, VALUE = 1 << 8, (1 << 31) | 0xFF, (1 << 31) - 1


def entries(encoded: str) -> dict[bytes, bytes]:
    """What each byte string of a map becomes."""
    data = base64.b64decode(encoded)
    size = struct.unpack_from("<I", data)[0] if len(data) >= 4 else 0
    if size % 4 or 4 + size > len(data) or size == 0:
        raise UnsupportedError("normalizer Precompiled has a damaged map")
    units = struct.unpack_from(f"<{size // 4}I", data, 4)
    texts = data[4 + size :]
    found: dict[bytes, bytes] = {}
    stack = [(b"", _offset(units[0]))]
    while stack:
        key, at = stack.pop()
        for byte in range(1, 256):
            place = at ^ byte
            if place >= len(units) or units[place] & LABEL != byte:
                continue
            unit, word = units[place], key + bytes([byte])
            after = place ^ _offset(unit)
            if len(word) > 64 or after >= len(units):
                raise UnsupportedError("normalizer Precompiled has a damaged map")
            if unit & LEAF:
                start = units[after] & VALUE
                found[word] = texts[start : texts.index(b"\0", start)]
            stack.append((word, after))
    return found


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & (1 << 9)) >> 6)


@cache
def _oracle() -> Any:
    units = [0] * 512
    units[0] = 256 << 10
    for byte in range(1, 256):
        if byte != ord("\n"):
            units[256 ^ byte] = 256 << 10 | LEAF | byte
            units[byte] = 1 << 31  # the value: where its text starts
    return normalizers.Precompiled(struct.pack("<I512I", 2048, *units) + b"X\0")


def _pieces(texts: list[str]) -> list[int]:
    """How many X each text becomes."""
    lines = _oracle().normalize_str("\n".join(texts)).split("\n")
    return [len(line) for line in lines]


def _set(around: Callable[[str], str], wanted: int, codes: list[int] | None = None) -> Array:
    """The characters that give so many X in a text around them."""
    codes = [c for c in codes or ASSIGNED if c not in (0, 10, 13)]
    found = np.zeros(ALL, bool)
    counts = _pieces([around(chr(c)) for c in codes])
    found[[c for c, count in zip(codes, counts, strict=True) if count == wanted]] = True
    return found


def _range(*ranges: tuple[int, int]) -> Array:
    found = np.zeros(ALL, bool)
    for low, high in ranges:
        found[low : high + 1] = True
    return found


def graphemes() -> Expression:
    """One grapheme, as the library cuts them."""
    tails = _set(lambda c: "a" + c, 1)
    prepended = _set(lambda c: c + "a", 1)
    control = _set(lambda c: c + ACUTE + ACUTE, 2) | _range((0, 0), (10, 10), (13, 13))
    tail_codes = np.flatnonzero(tails).tolist()
    extend = _set(lambda c: "©" + c + JOINER + "©" + ACUTE, 5, tail_codes)
    picture = _set(lambda c: "©" + JOINER + c + ACUTE + ACUTE, 5) & ~tails & ~control
    linker = _set(lambda c: KA + c + KA + ACUTE, 4, tail_codes)
    between = _set(lambda c: KA + VIRAMA + c + KA + ACUTE, 5, tail_codes)
    consonant = _set(lambda c: KA + VIRAMA + c + ACUTE, 4) & ~tails & ~control & ~prepended
    consonant[0x10000:] = False  # with four bytes, a mark makes six: looked up one by one anyway
    lead = _range((0x1100, 0x115F), (0xA960, 0xA97C))
    vowel = _range((0x1160, 0x11A7), (0xD7B0, 0xD7C6))
    tail = _range((0x11A8, 0x11FF), (0xD7CB, 0xD7FB))
    syllable = _range((0xAC00, 0xD7A3))
    open_syllable = np.zeros(ALL, bool)
    open_syllable[0xAC00:0xD7A4:28] = True
    flag = _range((0x1F1E6, 0x1F1FF))

    made = Expression("", "graphemes")

    def one(members: Array) -> Part:
        return made.chars(members)

    def seq(*parts: Part) -> Part:
        def build(after: int) -> int:
            for part in reversed(parts):
                after = part(after)
            return after

        return build

    def either(*parts: Part) -> Part:
        return lambda after: made.fork([part(after) for part in parts])

    def many(part: Part, low: int = 0) -> Part:
        return repeated(made, part, low, None)

    joiner, line = _range((0x200D, 0x200D)), _range((10, 10))
    body = seq(
        many(one(lead)),
        either(
            seq(one(open_syllable), many(one(vowel))),
            many(one(vowel), 1),
            one(syllable & ~open_syllable),
        ),
        many(one(tail)),
    )
    conjunct = seq(
        many(one(between | linker)), one(linker), many(one(between | linker)), one(consonant)
    )
    core = either(
        body,
        many(one(lead), 1),
        many(one(tail), 1),
        seq(one(flag), either(one(flag), seq())),
        seq(one(picture), many(seq(many(one(extend)), one(joiner), one(picture)))),
        seq(one(consonant), many(conjunct)),
        one(~control & ~tails & ~prepended),
    )
    marks = many(one(tails))
    made.start = either(
        seq(one(_range((13, 13))), one(line)),
        one(control),
        seq(many(one(prepended)), core, marks),
        seq(many(one(prepended), 1), marks),
        many(one(tails), 1),
    )(made.match)
    return made
