"""safetensors, read as a header and a map.

The format's own library copies each tensor and cannot hand out views of the map, so its header
(eight bytes of length, a JSON object, then data without holes) is read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from smelt.errors import CheckpointError, UnsupportedError
from smelt.frontend.checkpoint.sizes import natural, product, shape_of, short, within
from smelt.frontend.checkpoint.tensors import DTYPES, Array, MappedFile, TensorInfo

HEADER_LIMIT = 100_000_000  # the format's own cap

SPELLINGS = {
    "BOOL": "bool",
    "U8": "u8",
    "I8": "i8",
    "F8_E5M2": "f8_e5m2",
    "F8_E4M3": "f8_e4m3",
    "F8_E8M0": "f8_e8m0",
    "U16": "u16",
    "I16": "i16",
    "F16": "f16",
    "BF16": "bf16",
    "U32": "u32",
    "I32": "i32",
    "F32": "f32",
    "C64": "c64",
    "U64": "u64",
    "I64": "i64",
    "F64": "f64",
}


class SafetensorsFile:
    """One safetensors file: its header is read and checked at once, its data when asked for."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        size = self._file.size
        place = str(path)
        start = self._file.start(8)
        within(0, 8, size, "the header's length", place)
        length = int.from_bytes(start, "little")
        if length > HEADER_LIMIT:
            raise CheckpointError(
                f"the header claims {length} bytes, at most {HEADER_LIMIT} are allowed", place=place
            )
        within(8, length, size, "the header", place)
        header = parse_header(self._file.start(8 + length)[8:], place)
        self._base = 8 + length
        self.metadata, self._tensors, self._offsets = layout(header, path, size - self._base)

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self._tensors

    def read(self, name: str) -> Array:
        info = self._tensors[name]
        return self._file.array(DTYPES[info.dtype], info.shape, self._base + self._offsets[name])

    def stored(self, name: str) -> memoryview:
        return self._file.bytes(self._base + self._offsets[name], self._tensors[name].nbytes)

    def release(self, name: str) -> None:
        self._file.release(self._base + self._offsets[name], self._tensors[name].nbytes)


def parse_header(text: bytes, place: str) -> dict[str, Any]:
    """The JSON object of a header; a name that appears twice is refused."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise CheckpointError("a name appears twice in the header", place=place)
        return found

    try:
        header = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"the header is not JSON: {short(str(error))}", place=place
        ) from error
    if not isinstance(header, dict):
        raise CheckpointError("the header is not a JSON object", place=place)
    return header


def layout(
    header: dict[str, Any], path: Path, data: int
) -> tuple[dict[str, Any], dict[str, TensorInfo], dict[str, int]]:
    """Metadata, tensors and their offsets; the data must be tiled without a hole or an overlap."""
    place = str(path)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict):
        raise CheckpointError("`__metadata__` is not an object", place=place)
    tensors: dict[str, TensorInfo] = {}
    offsets: dict[str, int] = {}
    for name, entry in header.items():
        tensors[name], offsets[name] = tensor(name, entry, path)
    expected = 0
    for name in sorted(offsets, key=lambda key: (offsets[key], tensors[key].nbytes)):
        if offsets[name] != expected:
            kind = "overlaps what is before it" if offsets[name] < expected else "follows a hole"
            raise CheckpointError(
                f"`{name}` {kind}: it starts at byte {offsets[name]}, wants {expected}", place=place
            )
        expected += tensors[name].nbytes
    if expected != data:
        raise CheckpointError(
            f"the tensors end at byte {expected}, the file's data at {data}",
            place=place,
            hint="the file is truncated or damaged: fetch it again",
        )
    return metadata, tensors, offsets


def tensor(name: str, entry: Any, path: Path) -> tuple[TensorInfo, int]:
    """One row of the header, checked: the tensor and where its data starts."""
    place = f"{path}: {short(name)}"
    if not isinstance(entry, dict):
        raise CheckpointError(f"the entry is {short(entry)}, wants an object", place=place)
    spelling = entry.get("dtype")
    if not isinstance(spelling, str):
        raise CheckpointError(f"the dtype is {short(spelling)}", place=place)
    dtype = SPELLINGS.get(spelling)
    if dtype is None:
        raise UnsupportedError(f"dtype {short(spelling)} cannot be read", place=place)
    shape = shape_of(entry.get("shape"), "the tensor", place)
    span = entry.get("data_offsets")
    if not isinstance(span, list) or len(span) != 2:
        raise CheckpointError(f"data_offsets is {short(span)}, wants two numbers", place=place)
    start, stop = (natural(value, "a data offset", place) for value in span)
    nbytes = product((*shape, DTYPES[dtype].itemsize), "the tensor's bytes", place)
    if stop - start != nbytes:
        raise CheckpointError(
            f"{stop - start} bytes of data, but {spelling} {list(shape)} takes {nbytes}",
            place=place,
        )
    return TensorInfo(name, shape, dtype, path, dtype, nbytes), start
