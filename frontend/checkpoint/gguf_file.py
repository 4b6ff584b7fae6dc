"""GGUF, read as metadata, a table of tensors and a map.

The reader is our own because the `gguf` package trusts the counts and lengths of the file it reads.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smelt.errors import CheckpointError, UnsupportedError
from smelt.frontend.checkpoint.ggml_blocks import ENCODINGS, UNREAD, Encoding, decode
from smelt.frontend.checkpoint.sizes import align, disjoint, product, shape_of, short, within
from smelt.frontend.checkpoint.tensors import DTYPES, Array, MappedFile

SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9
NESTING = 4  # arrays in arrays; nobody writes more than one level
ALIGNMENT_LIMIT = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One row of the tensor table: shape in numpy's order, encoding, place in the file."""

    shape: tuple[int, ...]
    encoding: Encoding
    offset: int
    nbytes: int


class GgufFile:
    """One GGUF file: `metadata` by key and `entries` by ggml's own tensor names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = MappedFile(path)
        place = str(path)
        within(0, 24, self._file.size, "the header", place)
        cursor = Cursor(self._file.bytes(0, self._file.size), place)
        magic, version = cursor.take("4s"), cursor.take("I")
        if magic != b"GGUF":
            raise CheckpointError(
                f"the file starts with {short(magic)}, wants b'GGUF'", place=place
            )
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            known = "a big-endian file" if swapped in (2, 3) else f"GGUF version {version}"
            raise UnsupportedError(
                f"{known} cannot be read; 2 and 3 can, little-endian", place=place
            )
        tensors, keys = cursor.count("tensor count", 24), cursor.count("key count", 13)
        self.metadata: dict[str, Any] = {}
        for _ in range(keys):
            key = cursor.string()
            if key in self.metadata:
                raise CheckpointError(f"metadata key {short(key)} appears twice", place=place)
            self.metadata[key] = cursor.value(cursor.take("I"))
        self.entries = self._table(cursor, tensors, place)

    def _table(self, cursor: Cursor, tensors: int, place: str) -> dict[str, Entry]:
        rows: dict[str, Entry] = {}
        for _ in range(tensors):
            name = cursor.string()
            if name in rows:
                raise CheckpointError(f"tensor {short(name)} appears twice", place=place)
            rows[name] = row(cursor, f"{place}: {short(name)}")
        alignment = self.metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 0 < alignment <= ALIGNMENT_LIMIT or alignment % 8:
            raise CheckpointError(f"general.alignment is {short(alignment)}", place=place)
        base = align(cursor.at, alignment)
        entries = {}
        for name, entry in rows.items():
            where = f"{place}: {short(name)}"
            if entry.offset % alignment:
                raise CheckpointError(
                    f"its offset is {entry.offset}, wants a multiple of {alignment}", place=where
                )
            within(base + entry.offset, entry.nbytes, self._file.size, "the tensor's data", where)
            entries[name] = Entry(entry.shape, entry.encoding, base + entry.offset, entry.nbytes)
        spans = [(e.offset, e.offset + e.nbytes, short(name)) for name, e in entries.items()]
        disjoint(spans, place)
        return entries

    def values(self, entry: Entry) -> Array:
        """The values of an entry: a mapped view of plain types, f32 of block types."""
        if entry.encoding.decode is None:
            return self._file.array(DTYPES[entry.encoding.name], entry.shape, entry.offset)
        return decode(entry.encoding, self.stored(entry), entry.shape)

    def stored(self, entry: Entry) -> memoryview:
        """The bytes of an entry as the file has them."""
        return self._file.bytes(entry.offset, entry.nbytes)

    def release(self, entry: Entry) -> None:
        """Let the pages of an entry leave memory."""
        self._file.release(entry.offset, entry.nbytes)


class Cursor:
    """A position in the header; every step is checked against the end of the file."""

    def __init__(self, data: memoryview, place: str) -> None:
        self.data = data
        self.place = place
        self.at = 0

    def take(self, code: str) -> Any:
        """One number."""
        size = struct.calcsize("<" + code)
        within(self.at, size, len(self.data), "the header", self.place)
        (value,) = struct.unpack_from("<" + code, self.data, self.at)
        self.at += size
        return value

    def count(self, what: str, least: int) -> int:
        """A count of things of at least some bytes each, so a huge count is refused at once."""
        value: int = self.take("Q")
        if value * least > len(self.data) - self.at:
            raise CheckpointError(
                f"the {what} is {value}, more than the file has room for",
                place=self.place,
                hint="the file is truncated or damaged: fetch it again",
            )
        return value

    def string(self) -> str:
        """A length and UTF-8."""
        length = self.count("length of a string", 1)
        raw = bytes(self.data[self.at : self.at + length])
        self.at += length
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise CheckpointError(f"{short(raw)} is not UTF-8", place=self.place) from error

    def strings(self, count: int) -> list[str]:
        """Many strings: vocabularies have hundreds of thousands, so the steps are spelled out."""
        data, at, end, found = self.data, self.at, len(self.data), []
        try:
            for _ in range(count):
                start = at + 8
                at = start + int.from_bytes(data[start - 8 : start], "little")
                if at > end:
                    break
                found.append(str(data[start:at], "utf-8"))
        except UnicodeDecodeError as error:
            raise CheckpointError("a string is not UTF-8", place=self.place) from error
        within(self.at, at - self.at, end, "an array of strings", self.place)
        self.at = at
        return found

    def value(self, kind: int, depth: int = 0) -> Any:
        """A metadata value; arrays of numbers become lists."""
        if kind in SCALARS:
            return self.take(SCALARS[kind])
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            raise CheckpointError(f"metadata type {kind} does not exist", place=self.place)
        if depth == NESTING:
            raise CheckpointError("a metadata array is nested too deep", place=self.place)
        inner: int = self.take("I")
        if inner == STRING:
            return self.strings(self.count("length of an array", 8))
        if inner == ARRAY:
            length = self.count("length of an array", 12)
            return [self.value(ARRAY, depth + 1) for _ in range(length)]
        if inner not in SCALARS:
            raise CheckpointError(f"metadata type {inner} does not exist", place=self.place)
        dtype = np.dtype("<" + SCALARS[inner])
        length = self.count("length of an array", dtype.itemsize)
        values = np.frombuffer(self.data, dtype, length, self.at)
        self.at += length * dtype.itemsize
        return values.tolist()


def row(cursor: Cursor, place: str) -> Entry:
    """One row of the tensor table; its offset still counts from the start of the data."""
    rank = cursor.take("I")
    if not 1 <= rank <= 8:
        raise CheckpointError(f"the tensor has {rank} axes, wants 1 to 8", place=place)
    shape = shape_of([cursor.take("Q") for _ in range(rank)][::-1], "the tensor", place)
    kind, offset = cursor.take("I"), cursor.take("Q")
    encoding = ENCODINGS.get(kind)
    if encoding is None:
        known = f"{UNREAD[kind]} blocks" if kind in UNREAD else f"ggml type {kind}"
        raise UnsupportedError(
            f"{known} cannot be read",
            place=place,
            hint="use a file of Q4_0 to Q8_0, Q4_K, Q5_K, Q6_K, F16, BF16 or F32",
        )
    if shape[-1] % encoding.size:
        raise CheckpointError(
            f"rows of {shape[-1]} do not divide into {encoding.name} blocks of {encoding.size}",
            place=place,
        )
    blocks = (*shape[:-1], shape[-1] // encoding.size, encoding.nbytes)
    return Entry(shape, encoding, offset, product(blocks, "the tensor's bytes", place))


def entries_of(files: list[GgufFile]) -> Mapping[str, tuple[GgufFile, Entry]]:
    """The tensors of all parts of a split file, by ggml's names."""
    found: dict[str, tuple[GgufFile, Entry]] = {}
    for file in files:
        for name, entry in file.entries.items():
            if name in found:
                raise CheckpointError(f"tensor {short(name)} is in two parts", place=str(file.path))
            found[name] = (file, entry)
    return found
