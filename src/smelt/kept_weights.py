"""Derived weights kept on disk during a compile: quantized once for the artifact and its proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from smelt.ir.materialize import Read, Weights
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor


class KeptWeights(Weights):
    """``Weights`` that computes each derived weight once and then reads it, mapped, from a
    folder."""

    def __init__(self, program: Program, read: Read, folder: Path) -> None:
        super().__init__(program, read)
        self._folder = folder
        self._files: dict[str, tuple[Path, np.dtype[Any]]] = {}

    def array(self, leaf: Tensor) -> np.ndarray[Any, Any]:
        """As ``Weights.array``."""
        if leaf.op.name != "weight":
            return super().array(leaf)
        name = leaf.attr("name")
        if name not in self._files:
            array = super().array(leaf)
            path = self._folder / f"{len(self._files)}.npy"
            # The .npy format has no bfloat16; bytes and a dtype on the side have no such gap.
            np.save(path, np.ascontiguousarray(array).reshape(-1).view(np.uint8))
            self._files[name] = (path, array.dtype)
        path, dtype = self._files[name]
        shape = [int(size) for size in leaf.shape if isinstance(size, int)]
        kept: np.ndarray[Any, Any] = np.load(path, mmap_mode="r").view(dtype).reshape(shape)
        return kept
