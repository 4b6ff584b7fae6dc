"""The external weights of all graphs of an artifact: one file, each tensor once, aligned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from smelt.runtime.weight_index import WeightIndex

Array = np.ndarray[Any, Any]
ALIGNMENT = 64


@dataclass(frozen=True)
class Stored:
    """A tensor as it goes to the file. ``dtype`` and ``shape`` are what ONNX is told; they differ
    from those of ``data`` where several elements share a byte.
    """

    data: Array
    dtype: Any
    shape: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """Bytes of a stored tensor as one of this shape, after ``part`` others of the same shape."""

    ending: str
    shape: tuple[int, ...]
    part: int = 0


class WeightsFile:
    """Writes tensors one after the other; a name that is known is not written again."""

    def __init__(self, path: Path, progress: Callable[[str, int], None]) -> None:
        self.path = path
        self._progress = progress
        self.bytes = 0
        self._tensors: dict[str, Any] = {}
        self._file: IO[bytes] | None = None
        self._index = WeightIndex(path.name)

    def __enter__(self) -> WeightsFile:
        self._file = self.path.open("wb")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        self._file.close()
        if kind is None:
            self._index.write(self.path.parent)

    def add(self, name: str, make: Callable[[], Stored]) -> Any:
        """The external tensor of that name; ``make`` gives its content the first time."""
        if name not in self._tensors:
            self._tensors[name] = self._write(name, make())
        return self._tensors[name]

    def view(self, stored: str, name: str, view: View) -> Any:
        """A tensor of another name over some bytes of one that is stored."""
        tensor = self._tensors[stored]
        length = prod(view.shape) * int(tensor.dtype.itemsize)
        offset = tensor.offset + view.part * length
        assert offset + length <= tensor.offset + tensor.length
        return self._tensor(name, offset, length, tensor.dtype, view.shape)

    def _write(self, name: str, stored: Stored) -> Any:
        assert self._file is not None
        padding = -self.bytes % ALIGNMENT
        self._file.write(b"\0" * padding)
        offset = self.bytes + padding
        data = np.ascontiguousarray(stored.data)
        if data.size:
            view = data.reshape(-1).view(np.uint8).data
            self._index.add(name, offset, view)
            self._file.write(view)
        self.bytes = offset + data.nbytes
        self._progress(name, data.nbytes)
        return self._tensor(name, offset, data.nbytes, stored.dtype, stored.shape)

    def _tensor(
        self, name: str, offset: int, length: int, dtype: Any, shape: tuple[int, ...]
    ) -> Any:
        import onnx_ir as ir

        return ir.ExternalTensor(
            self.path.name,
            offset,
            length,
            dtype,
            shape=ir.Shape(shape),
            name=name,
            base_dir=self.path.parent,
        )
