"""A checkpoint's tensors: what is known of one before it is read, and where its bytes lie."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import ml_dtypes
import numpy as np

from smelt.errors import CheckpointError
from smelt.frontend.checkpoint.sizes import within

Array = np.ndarray[Any, np.dtype[Any]]

DTYPES: dict[str, np.dtype[Any]] = {
    "f64": np.dtype(np.float64),
    "f32": np.dtype(np.float32),
    "f16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f8_e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
    "f8_e8m0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "c64": np.dtype(np.complex64),
    "i64": np.dtype(np.int64),
    "i32": np.dtype(np.int32),
    "i16": np.dtype(np.int16),
    "i8": np.dtype(np.int8),
    "u64": np.dtype(np.uint64),
    "u32": np.dtype(np.uint32),
    "u16": np.dtype(np.uint16),
    "u8": np.dtype(np.uint8),
    "bool": np.dtype(np.bool_),
}


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as a header describes it.

    `dtype` is what `read` returns; `encoding` is how the file stores it, the same word unless the
    file packs blocks (GGUF's `q4_k`, …). `nbytes` counts stored bytes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    encoding: str
    nbytes: int


class Source(Protocol):
    """One file of tensors."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """What the header lists, by name."""

    def read(self, name: str) -> Array:
        """The values of a tensor, a view of the mapped file where its bytes are the values."""

    def stored(self, name: str) -> memoryview:
        """The bytes of a tensor as the file has them."""

    def release(self, name: str) -> None:
        """Let the system drop the pages of a tensor from memory; they come back when touched."""


class MappedFile:
    """A file that is mapped, read-only, when its bytes are first needed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._map: mmap.mmap | None = None

    def start(self, count: int) -> bytes:
        """The first bytes, read rather than mapped."""
        with self.path.open("rb") as file:
            return file.read(count)

    def bytes(self, offset: int, length: int) -> memoryview:
        """A span of the file, mapped, not copied."""
        within(offset, length, self.size, "a span", str(self.path))
        return memoryview(self._mapped())[offset : offset + length] if length else memoryview(b"")

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> Array:
        """A span of the file as an array: a read-only view, or a copy where it is not aligned."""
        count = int(np.prod(shape, dtype=np.int64))
        if not count:
            return np.empty(shape, dtype)
        within(offset, count * dtype.itemsize, self.size, "an array", str(self.path))
        view = np.frombuffer(self._mapped(), dtype, count, offset).reshape(shape)
        return view if view.flags.aligned else view.copy()

    def release(self, offset: int, length: int) -> None:
        """Advise the system that a span will not be needed soon."""
        if self._map is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        first = offset // mmap.PAGESIZE * mmap.PAGESIZE
        last = min(offset + length, self.size)
        if last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def _mapped(self) -> mmap.mmap:
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if len(self._map) < self.size:
                raise CheckpointError("the file shrank while it was open", place=str(self.path))
        return self._map
