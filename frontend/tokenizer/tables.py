"""The tables of a compiled tokenizer as bytes; `runtime/cpp/text/format.h` has the records."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smelt.errors import UnsupportedError

Array = np.ndarray[Any, Any]

MAGIC = b"smelttxt"
VERSION = 1
NONE = 0xFFFFFFFF
WHOLE = 0x80000000
ALL = 0x110000
KINDS = (
    "info",
    "steps",
    "classes",
    "map",
    "automaton",
    "trie",
    "pairs",
    "strings",
    "words",
    "reals",
    "words32",
    "bytes",
)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = 0xBF58476D1CE4E5B9
_MASK = (1 << 64) - 1


class Tables:
    """Collects tables; equal ones are stored once."""

    def __init__(self) -> None:
        self._tables: list[tuple[int, bytes]] = [(0, b"")]  # the first is `info`, filled in last
        self._known: dict[tuple[int, bytes], int] = {}

    def add(self, kind: str, data: bytes) -> int:
        """The number of a table with this content."""
        key = (KINDS.index(kind), data)
        if key not in self._known:
            self._known[key] = len(self._tables)
            self._tables.append(key)
        return self._known[key]

    def classes(self, values: Array) -> int:
        """A small number for each code point."""
        return self.add("classes", _two_stages(values.astype(np.uint8)))

    def map(self, values: Mapping[int, int]) -> int:
        """A string for each code point that is not itself: 1 + its index."""
        every = np.zeros(ALL, np.uint16)
        every[list(values)] = list(values.values())
        return self.add("map", _two_stages(every))

    def strings(self, strings: Sequence[bytes]) -> int:
        """Byte strings by index."""
        offsets = np.zeros(len(strings) + 1, "<u4")
        np.cumsum([len(s) for s in strings], out=offsets[1:])
        head = struct.pack("<II", len(strings), 0)
        return self.add("strings", head + offsets.tobytes() + b"".join(strings))

    def words32(self, values: Sequence[int]) -> int:
        """Plain words."""
        return self.add("words32", np.asarray(values, "<u4").tobytes())

    def pairs(self, pairs: Mapping[tuple[int, int], tuple[int, int]]) -> int:
        """(left, right) to (rank, id)."""
        keys = np.array(list(pairs), np.uint64).reshape(-1, 2)
        values = np.array(list(pairs.values()), "<u4").reshape(-1, 2)
        bits = _bits(len(pairs))
        home = ((keys[:, 0] << np.uint64(32) | keys[:, 1]) * _GOLDEN) >> np.uint64(64 - bits)
        order, at, slots = _places(home, bits)
        table = np.full((slots, 4), NONE, "<u4")
        table[at, :2], table[at, 2:] = keys[order], values[order]
        return self.add("pairs", struct.pack("<IIII", bits, 0, 0, 0) + table.tobytes())

    def words(self, words: Mapping[bytes, int]) -> int:
        """Byte strings to ids, perhaps with WHOLE."""
        hashes = np.array([word_hash(word) for word in words], np.uint64)
        ids = np.array(list(words.values()), "<u4")
        bits = _bits(len(words))
        order, at, slots = _places((hashes * _GOLDEN) >> np.uint64(64 - bits), bits)
        table = np.full((slots, 2), NONE, "<u4")
        table[at, 0] = (hashes & np.uint64(NONE))[order]
        table[at, 1] = ids[order]
        return self.add("words", struct.pack("<IIII", bits, 0, 0, 0) + table.tobytes())

    def trie(self, words: Mapping[bytes, int]) -> int:
        """Byte strings to numbers, walked byte by byte; children lie one behind the other."""
        keys = sorted(words)
        lengths = np.array([len(k) for k in keys], np.int64)
        flat = np.frombuffer(b"".join(keys), np.uint8)
        starts = np.concatenate(([0], np.cumsum(lengths)))[:-1]
        alive, node = np.arange(len(keys)), np.zeros(len(keys), np.int64)
        labels, parents, value = [np.zeros(1, np.uint8)], [np.zeros(1, np.int64)], {}
        count, depth = 1, 0
        while len(alive):
            byte = flat[starts[alive] + depth]
            is_new = np.ones(len(alive), bool)
            is_new[1:] = (node[1:] != node[:-1]) | (byte[1:] != byte[:-1])
            labels.append(byte[is_new])
            parents.append(node[is_new])
            node = count + np.cumsum(is_new) - 1
            count += int(is_new.sum())
            depth += 1
            ends = lengths[alive] == depth
            for key, at in zip(alive[ends], node[ends], strict=True):
                value[int(at)] = words[keys[key]]
            alive, node = alive[~ends], node[~ends]
        label, parent = np.concatenate(labels), np.concatenate(parents)
        children = np.bincount(parent[1:], minlength=count) if count > 1 else np.zeros(1, np.int64)
        first = np.concatenate(([1], 1 + np.cumsum(children))).astype("<u4")
        values = np.full(count, NONE, "<u4")
        values[list(value)] = list(value.values())
        root = np.zeros(256, "<u4")
        below = np.arange(1, first[1])
        root[label[below]] = below
        head = struct.pack("<II", count, 0)
        parts = (root, first, values, label.astype(np.uint8))
        return self.add("trie", head + b"".join(p.tobytes() for p in parts))

    def data(self, info: Sequence[int]) -> bytes:
        """The whole file; ``info`` are the words of its first table."""
        self._tables[0] = (0, np.asarray(info, "<u4").tobytes())
        offset = 32 + 16 * len(self._tables)
        records, parts = [], []
        for kind, data in self._tables:
            padding = -offset % 16
            parts.append(b"\0" * padding + data)
            records.append(struct.pack("<IIII", kind, offset + padding, len(data), 0))
            offset += padding + len(data)
        if offset >= 1 << 32:
            raise UnsupportedError(f"compiled tokenizer has {offset} bytes, at most 2^32 fit")
        head = MAGIC + struct.pack("<IIQQ", VERSION, len(self._tables), offset, 0)
        return head + b"".join(records) + b"".join(parts)


def word_hash(word: bytes) -> int:
    """The hash of a word as the runtime computes it."""
    h = len(word) * 0x9E3779B97F4A7C15 & _MASK
    for at in range(0, len(word), 8):
        h = (h ^ int.from_bytes(word[at : at + 8], "little")) * _MIX & _MASK
        h ^= h >> 32
    return h


def cut_hash(left: Array, right: Array) -> Array:
    """The hash of two neighbouring characters as the runtime computes it."""
    key = left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)
    return (key * _GOLDEN) >> np.uint64(32) & np.uint64(NONE)


def _two_stages(values: Array) -> bytes:
    rows = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).reshape(-1, 128)
    known: dict[bytes, int] = {}
    index = [known.setdefault(row.tobytes(), len(known)) for row in rows]
    head = struct.pack("<II", len(known), 0)
    return head + np.array(index, "<u2").tobytes() + b"".join(known)


def _bits(count: int) -> int:
    return max(3, int(count / 0.6).bit_length())


def _places(home: Array, bits: int) -> tuple[Array, Array, int]:
    """Where sorted entries of a linearly probed table lie; a last free slot ends every search."""
    order = np.argsort(home, kind="stable")
    index = np.arange(len(home), dtype=np.int64)
    at = index + np.maximum.accumulate(home[order].astype(np.int64) - index) if len(home) else index
    slots = max(1 << bits, int(at[-1]) + 1 if len(at) else 0) + 1
    return order, at, slots
