"""Weights in the byte order in which the kernels read them (runtime/cpp/kernels/kernels.h).

16 output rows form a panel; within it the columns are interleaved, so that one load fills a vector
with 16 rows × some columns. Quantized planes follow one another: codes, scales, zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from smelt.runtime.edge_format import align

Array = np.ndarray[Any, Any]

PANEL = 16


@dataclass(frozen=True)
class Packing:
    """How a matrix [rows, cols] is stored; group 0 for floats. ``format`` is one of FORMATS."""

    format: str
    rows: int
    cols: int
    group: int = 0
    symmetric: bool = True

    @property
    def panels(self) -> int:
        return -(-self.rows // PANEL)

    @property
    def padded_cols(self) -> int:
        if self.format == "bf16":
            return self.cols + self.cols % 2
        return -(-self.cols // self.group) * self.group if self.group else self.cols

    @property
    def code_bytes(self) -> int:
        """Bytes of the first plane."""
        count = self.panels * PANEL * self.padded_cols
        return {"f32": 4 * count, "f16": 2 * count, "bf16": 2 * count, "int8": count}.get(
            self.format, count // 2
        )

    @property
    def bytes(self) -> int:
        """Bytes of all planes, each padded to 64."""
        scales = self.panels * PANEL * (self.padded_cols // self.group) if self.group else 0
        zeros = 0 if self.symmetric else scales
        return align(self.code_bytes) + align(2 * scales) + align(zeros)


def pack_floats(values: Array, packing: Packing) -> Array:
    """f32, f16 or bf16 values [rows, cols] as bytes."""
    kind = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}[packing.format]
    pair = 2 if packing.format == "bf16" else 1
    grid = np.zeros((packing.panels * PANEL, packing.padded_cols), kind)
    grid[: packing.rows, : packing.cols] = values
    ordered = grid.reshape(packing.panels, PANEL, packing.padded_cols // pair, pair)
    return _whole(packing, ordered.transpose(0, 2, 1, 3))


def pack_codes(codes: Array, scales: Array, zeros: Array, packing: Packing) -> Array:
    """Codes [rows, padded cols] with f16 scales [rows, groups] and zeros (one for all if
    symmetric) as bytes.
    """
    panels, width = packing.panels, packing.padded_cols
    groups = width // packing.group
    is_int8 = packing.format == "int8"
    middle = (128 if is_int8 else 8) if packing.symmetric else 0
    grid = np.full((panels * PANEL, width), middle, np.uint8)
    if is_int8 and packing.symmetric:
        grid[: packing.rows] = (codes.astype(np.int16) + 128).astype(np.uint8)
    else:
        grid[: packing.rows] = codes
    fours: np.ndarray[Any, Any] = grid.reshape(panels, PANEL, width // 4, 4).transpose(0, 2, 1, 3)
    if not is_int8:
        fours = fours[:, 0::2] | (fours[:, 1::2] << 4)
    planes = [fours, _plane(scales, panels, groups, np.dtype(np.float16))]
    if not packing.symmetric:
        planes.append(_plane(zeros, panels, groups, np.dtype(np.uint8)))
    return _whole(packing, *planes)


def _plane(values: Array, panels: int, groups: int, kind: np.dtype[Any]) -> Array:
    grid = np.zeros((panels * PANEL, groups), kind)
    grid[: values.shape[0]] = values
    return grid.reshape(panels, PANEL, groups).transpose(0, 2, 1)


def _whole(packing: Packing, *planes: Array) -> Array:
    """The planes one behind the other, each padded to 64 bytes."""
    blob = np.zeros(packing.bytes, np.uint8)
    offset = 0
    for plane in planes:
        data = np.ascontiguousarray(plane).reshape(-1).view(np.uint8)
        blob[offset : offset + data.size] = data
        offset = align(offset + data.size)
    return blob
