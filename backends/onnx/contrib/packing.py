"""Quantized weights in onnxruntime's packing: rows of blocks, the first code in the low bits.

Codes are unsigned there, and the zero of a block is 2^(bits - 1) where none is given. Scales are
f32, as the product is.

Weights of 8 bits that are multiplied as floats are stored as two halves of 4 bits: code - zero is
16 · (high - its zero) + (low - its zero), exactly. For 4 bits there is a kernel that multiplies
with f32 activations; for 8 bits onnxruntime would dequantize the matrix at every call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from smelt.backends.onnx.codes import Codes, pack4
from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.value import Value
from smelt.backends.onnx.weights_file import Stored, View

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Part:
    """What a kernel is given: codes, scales, zero points; and what the result counts for."""

    codes: Value
    scales: Value
    zeros: Value | None
    bits: int
    factor: int = 1


def fits_block(group: int) -> bool:
    """Block sizes that the kernels take: a power of two from 16."""
    return group >= 16 and group & (group - 1) == 0


def whole(g: Graph, q: Codes, *, blocked: bool, expert: int | None = None) -> Part:
    """The codes as they are; ``blocked`` gives their blocks an axis of their own.

    Of the weights of many experts, ``expert`` picks one.
    """
    zeros = None if q.zero is not None else _zeros(g, q, "packed", lambda z: z, expert)
    codes = _codes(g, q, "packed", q.bits, lambda c: c, blocked, expert)
    return Part(codes, _scales(g, q, expert), zeros, q.bits)


def halves(g: Graph, q: Codes, *, blocked: bool, expert: int | None = None) -> tuple[Part, Part]:
    """High and low halves of codes of 8 bits."""
    scales = _scales(g, q, expert)
    high = _codes(g, q, "high", 4, lambda c: c >> 4, blocked, expert)
    low = _codes(g, q, "low", 4, lambda c: c & 15, blocked, expert)
    if q.zero is None:
        above = _zeros(g, q, "high", lambda z: z >> 4, expert)
        below = _zeros(g, q, "low", lambda z: z & 15, expert)
        return Part(high, scales, above, 4, 16), Part(low, scales, below, 4)
    # The one zero is 128 by now: 8 in the high half, which is the kernels' own, 0 in the low one.
    shape = _packed_shape(q, 4)
    nothing = g.const(np.zeros(shape if expert is None else shape[1:], np.uint8))
    return Part(high, scales, None, 4, 16), Part(low, scales, nothing, 4)


def _codes(
    g: Graph, q: Codes, form: str, bits: int, pick: Any, blocked: bool, expert: int | None
) -> Value:
    *lead, groups = _grid(q)
    wide = q.group * bits // 8
    # Symmetric codes are moved, so that their zero is the one that the kernels assume.
    shift = 0 if q.zero is None else 2 ** (q.bits - 1) - q.zero

    def change(array: Array) -> Stored:
        picked = pick((array.astype(np.int16) + shift).astype(np.uint8))
        return _bytes(_packed(picked, bits), (*lead, groups * wide))

    view = _view(f"{form}.blocks", (*lead, groups, wide), expert) if blocked else None
    return g.weight(q.codes, form, change, view)


def _zeros(g: Graph, q: Codes, form: str, pick: Any, expert: int | None) -> Value:
    bits = q.bits if form == "packed" else 4
    shape = _packed_shape(q, bits)
    view = None if expert is None else _view(form, shape, expert)
    return g.weight(q.zeros, form, lambda a: _bytes(_packed(pick(a), bits), shape), view)


def _scales(g: Graph, q: Codes, expert: int | None) -> Value:
    import onnx_ir as ir

    view = None if expert is None else _view("f32", _grid(q), expert)
    return g.weight(
        q.scales, "f32", lambda a: Stored(a.astype(np.float32), ir.DataType.FLOAT, a.shape), view
    )


def _view(ending: str, shape: tuple[int, ...], expert: int | None) -> View:
    """A shape over stored bytes: all of them, or one expert's."""
    if expert is None:
        return View(ending, shape)
    return View(f"{ending}.{expert}", shape[1:], expert)


def _grid(q: Codes) -> tuple[int, ...]:
    """Sizes of the scales: [experts,] rows, groups."""
    return tuple(size for size in q.scales.shape if isinstance(size, int))


def _packed_shape(q: Codes, bits: int) -> tuple[int, ...]:
    """Shape of zero points: one a block, each row a whole number of bytes."""
    *lead, groups = _grid(q)
    return (*lead, -(-groups * bits // 8))


def _packed(codes: Array, bits: int) -> Array:
    """Codes [..., n] of as many bits, as bytes; each row begins a byte."""
    if bits == 8:
        return codes
    if codes.shape[-1] % 2:
        codes = np.pad(codes, [*[(0, 0)] * (codes.ndim - 1), (0, 1)])
    return pack4(codes).reshape(*codes.shape[:-1], -1)


def _bytes(array: Array, shape: tuple[int, ...]) -> Stored:
    import onnx_ir as ir

    return Stored(array, ir.DataType.UINT8, shape)
