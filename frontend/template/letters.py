"""What templates must know of letters, asked of Python one character at a time.

Ranges of characters with their properties, then the characters whose case changes.
"""

from __future__ import annotations

import struct
import sys
from functools import cache

HIDDEN, CASED, IGNORED, DIGIT = 1, 2, 4, 8


@cache
def letters(with_case: bool, end: int = sys.maxunicode + 1) -> bytes:
    """The table: ranges (first, properties), and for each map of case (from, offset) and texts."""
    ranges = _ranges(with_case, end)
    maps = [_map(name, end) if with_case else [] for name in ("upper", "lower", "title")]
    texts = b""
    places: dict[bytes, int] = {}
    rows: list[bytes] = []
    for rule in maps:
        part = b""
        for code, text in rule:
            if text not in places:
                places[text] = len(texts)
                texts += bytes([len(text)]) + text
            part += struct.pack("<II", code, places[text])
        rows.append(part)
    counts = [len(ranges), *(len(rule) for rule in maps)]
    table = b"".join(struct.pack("<II", *row) for row in ranges)
    return struct.pack("<4I", *counts) + table + b"".join(rows) + texts


def _ranges(with_case: bool, end: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    last = -1
    for code in range(end):
        properties = _properties(chr(code), with_case)
        if properties != last:
            found.append((code, properties))
            last = properties
    return found


def _properties(char: str, with_case: bool) -> int:
    found = 0 if char.isprintable() else HIDDEN
    if with_case:
        if (char + "a").title().endswith("a"):
            found |= CASED
        # A sigma is final behind a cased letter, whatever is ignored between them.
        if ("A" + char + "Σ").lower()[-1] == "ς" != (char + "Σ").lower()[-1]:
            found |= IGNORED
        if char.isdigit():
            found |= DIGIT
    return found


def _map(name: str, end: int) -> list[tuple[int, bytes]]:
    rows = []
    for code in range(128, end):
        if 0xD800 <= code < 0xE000:
            continue
        char = chr(code)
        other = getattr(char, name)()
        if other != char:
            rows.append((code, other.encode()))
    return rows
