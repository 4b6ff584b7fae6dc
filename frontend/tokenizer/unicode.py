"""What `tokenizers` knows of Unicode, asked of the library itself: tables are its release's.

Python's `unicodedata` has another version, so it is only used where the library confirms it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
from tokenizers import NormalizedString, Regex, normalizers, pre_tokenizers

Array = np.ndarray[Any, Any]

ALL = 0x110000
SURROGATES = range(0xD800, 0xE000)
HANGUL = range(0xAC00, 0xD7A4)
#: Where characters have properties of their own; the rest is as U+50000 or U+F0000.
ASSIGNED = [*range(0xD800), *range(0xE000, 0x33480), *range(0xE0000, 0xE1000)]
UNASSIGNED, PRIVATE = 0x50000, 0xF0000
#: Stands between characters that are looked at one by one; no normalizer touches it.
FENCE = "0!0"


def _planes() -> Iterator[NormalizedString]:
    """Every character in order, in parts: what the library keeps of each takes much memory."""
    codes = np.delete(np.arange(ALL, dtype="<u4"), slice(SURROGATES.start, SURROGATES.stop))
    for part in np.array_split(codes, 16):
        yield NormalizedString(part.tobytes().decode("utf-32-le"))


@cache
def matching(expression: str) -> Array:
    """For each code point, whether an expression of one character matches it."""
    runs = Regex(f"(?:{expression})+")
    found = np.ones(ALL, bool)
    for plane in _planes():
        for piece in plane.split(runs, "removed"):
            text = piece.normalized
            found[ord(text[0]) : ord(text[-1]) + 1] = False
    found[SURROGATES.start : SURROGATES.stop] = False
    return found


def _spread(codes: list[int], values: Iterable[Any], found: Array) -> Array:
    """Values of the assigned code points, and of one unassigned and one private for the others."""
    found[codes] = list(values)
    found[0x33480:0xE0000] = found[UNASSIGNED]
    found[0xE1000:0xF0000] = found[UNASSIGNED]
    found[0xF0000:] = found[PRIVATE]
    return found


def _probes() -> list[int]:
    return [*ASSIGNED, UNASSIGNED, PRIVATE]


@cache
def kept_by(name: str) -> Array:
    """The code points that a pre-tokenizer which removes something keeps."""
    splitter = {
        "whitespace": pre_tokenizers.WhitespaceSplit(),
        "punctuation": pre_tokenizers.Punctuation("removed"),
    }[name]
    text = "".join(map(chr, _probes()))
    found = np.zeros(len(text), bool)
    for _, (begin, end) in splitter.pre_tokenize_str(text):
        found[begin:end] = True
    return _spread(_probes(), found.tolist(), np.zeros(ALL, bool))


@cache
def is_digit() -> Array:
    """The code points that `Digits` takes for digits."""
    text = "".join(map(chr, _probes()))
    found = np.zeros(len(text), bool)
    # Runs alternate; the first begins with U+0000, which is no digit.
    for index, (_, (begin, end)) in enumerate(
        pre_tokenizers.Digits(individual_digits=False).pre_tokenize_str(text)
    ):
        found[begin:end] = index % 2 == 1
    return _spread(_probes(), found.tolist(), np.zeros(ALL, bool))


@cache
def characters() -> Array:
    """Bit 0: part of a word, bit 1: white space, as added tokens and `Whitespace` see them."""
    probes = _probes()
    text = "".join(f"a{chr(c)} " for c in probes)
    found = np.zeros(len(probes), np.uint8)
    pieces: list[list[str]] = [[] for _ in probes]
    for piece, (begin, _) in pre_tokenizers.Whitespace().pre_tokenize_str(text):
        pieces[begin // 3].append(piece)
    for index, found_pieces in enumerate(pieces):
        if found_pieces == ["a"]:
            found[index] = 2
        elif len(found_pieces) == 1:
            found[index] = 1
    return _spread(probes, found.tolist(), np.zeros(ALL, np.uint8))


def mapped(normalize: Callable[[str], str]) -> dict[int, str]:
    """What each character that a normalizer changes becomes."""
    found = _one_by_one(normalize, ASSIGNED)
    for start in (*range(0x34000, 0xE0000, 0x1000), *range(0xE1000, ALL, 0x1000)):
        block = range(start, start + 0x1000)
        text = "".join(map(chr, block))
        changed = normalize(text)
        if changed == "":
            found.update(dict.fromkeys(block, ""))
        elif changed != text:
            found.update(_one_by_one(normalize, list(block)))
    return found


def _one_by_one(normalize: Callable[[str], str], codes: list[int]) -> dict[int, str]:
    parts = normalize(FENCE + FENCE.join(map(chr, codes)) + FENCE).split(FENCE)[1:-1]
    if len(parts) != len(codes):
        raise AssertionError("a normalizer changed what stands between characters")
    return {code: part for code, part in zip(codes, parts, strict=True) if ord_or(part) != code}


def ord_or(text: str) -> int:
    """The code point of a text of one character, -1 for any other text."""
    return ord(text) if len(text) == 1 else -1


@cache
def form(name: str) -> dict[int, str]:
    """What each character becomes in NFC, NFD, NFKC or NFKD; those that stay are left out."""
    return mapped(getattr(normalizers, name)().normalize_str)


@cache
def combining() -> Array:
    """The canonical combining class of each code point."""
    found = np.zeros(ALL, np.uint8)
    normal = normalizers.NFD().normalize_str
    first = {unicodedata.combining(chr(c)): chr(c) for c in reversed(ASSIGNED)}
    ranks = sorted(rank for rank in first if rank)
    low, high = first[ranks[0]], first[ranks[-1]]
    for code in ASSIGNED:
        # A class above 1 moves behind one of 1; a class below 240 before one of 240.
        if code in HANGUL or (code < 0x300):
            continue
        known = unicodedata.combining(chr(code))
        if known or unicodedata.category(chr(code)) in ("Cn", "Mn", "Mc"):
            char = chr(code)
            moves = normal(char + low) != char + low or normal(high + char) != high + char
            if moves and (known or normal(char) == char):
                found[code] = known or _rank(char, ranks, first, normal)
    return found


def _rank(char: str, ranks: list[int], first: dict[int, str], normal: Callable[[str], str]) -> int:
    """The class of a character that is newer than Python's table: where the library sorts it."""
    not_above = [r for r in ranks if normal(first[r] + char) == first[r] + char]
    return max(not_above, default=ranks[0])


@cache
def compositions() -> dict[tuple[int, int], int]:
    """The pairs that NFC makes one character of, syllables of Hangul left out."""
    decomposed, composed = form("NFD"), form("NFC")
    normal = normalizers.NFC().normalize_str
    found = {}
    for code, parts in decomposed.items():
        if code in composed or len(parts) < 2 or code in HANGUL:
            continue
        head = normal(parts[:-1])
        if len(head) == 1:
            found[ord(head), ord(parts[-1])] = code
    return found
