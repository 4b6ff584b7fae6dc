"""Quantized weights in onnxruntime's packing: rows of blocks, the first code in the low bits.

Codes are unsigned there, and the zero of a block is 2^(bits - 1) where none is given. Scales are
f32, as the product is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from smelt.backends.onnx.codes import Codes, are_stored, pack4
from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.value import Value
from smelt.backends.onnx.weights_file import Stored
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

Array = np.ndarray[Any, Any]


def fits_block(group: int) -> bool:
    """Block sizes that the kernels take: a power of two from 16."""
    return group >= 16 and group & (group - 1) == 0


def packed(array: Array, bits: int, shift: int) -> Array:
    """Codes [rows, columns] as bytes [rows, columns · bits / 8]; ``shift`` is added to each."""
    codes = (array.astype(np.int16) + shift).astype(np.uint8)
    if bits == 8:
        return codes
    if codes.shape[-1] % 2:
        codes = np.pad(codes, [(0, 0)] * (codes.ndim - 1) + [(0, 1)])
    return pack4(codes).reshape(*codes.shape[:-1], codes.shape[-1] // 2)


def _shift(q: Codes) -> int:
    """What makes the zero of symmetric codes the one that the kernels assume."""
    return 0 if q.zero is None else 2 ** (q.bits - 1) - q.zero


def _bytes(shape: tuple[int, ...], array: Array) -> Stored:
    import onnx_ir as ir

    return Stored(array, ir.DataType.UINT8, shape)


def operands(g: Graph, q: Codes, *, blocked: bool) -> tuple[Value, Value, Value | None]:
    """Codes, scales and zero points; ``blocked`` gives the codes' blocks an axis of their own.

    Both forms are the same bytes, which the file holds once.
    """
    rows, groups = q.scales.shape
    assert isinstance(rows, int) and isinstance(groups, int)
    wide = q.group * q.bits // 8
    codes = g.weight(
        q.codes,
        "packed",
        lambda a: _bytes((rows, groups * wide), packed(a, q.bits, _shift(q))),
        ("blocks", (rows, groups, wide)) if blocked else None,
    )
    scales = g.weight(q.scales, "f32", _wide)
    zeros = None
    if q.zero is None:
        zero_shape = (rows, -(-groups * q.bits // 8))
        zeros = g.weight(q.zeros, "packed", lambda a: _bytes(zero_shape, packed(a, q.bits, 0)))
    return codes, scales, zeros


def _wide(array: Array) -> Stored:
    import onnx_ir as ir

    return Stored(array.astype(np.float32), ir.DataType.FLOAT, array.shape)


def times(g: Graph, x: Value, q: Codes, bias: Value | None, accuracy: int) -> Value:
    """x times the matrix transposed. ``accuracy`` 4 rounds x to int8 in the weight's groups."""
    codes, scales, zeros = operands(g, q, blocked=True)
    return g.op(
        "com.microsoft.MatMulNBits",
        x,
        codes,
        scales,
        zeros,
        None,
        bias,
        K=q.size,
        N=q.scales.shape[0],
        bits=q.bits,
        block_size=q.group,
        accuracy_level=accuracy,
    )


def is_matrix(weight: Tensor) -> bool:
    """Whether a ``dequantize`` is of a stored matrix that MatMulNBits takes."""
    if weight.op.name != "dequantize":
        return False
    return are_stored(weight) and weight.type.rank == 2 and fits_block(weight.attr("group"))


def _fits_linear(node: Tensor) -> bool:
    return is_matrix(node.inputs[1]) and node.dtype is DType.F32


def _linear(g: Graph, x: Value, weight: Value, bias: Value | None) -> Value:
    return times(g, x, Codes.of(g, weight), bias, accuracy=0)


def _fits_gather(node: Tensor) -> bool:
    return are_stored(node) and node.inputs[0].type.rank == 2 and fits_block(node.attr("group"))


def _gather(
    g: Graph, codes: Value, scales: Value, zeros: Value, indices: Value, group: int, size: int
) -> Value:
    q = Codes(g, codes, scales, zeros, group, size)
    data, steps, below = operands(g, q, blocked=False)
    rows = g.op(
        "com.microsoft.GatherBlockQuantized",
        data,
        indices,
        steps,
        below,
        bits=q.bits,
        block_size=group,
        gather_axis=0,
        quantize_axis=1,
    )
    if q.width == size:
        return rows
    last = indices.rank
    return g.op("Slice", rows, g.ints(0), g.ints(size), g.ints(last))


def _fits_integer(node: Tensor) -> bool:
    x, codes = node.inputs[:2]
    return (
        are_stored(node, first=1)
        and codes.type.rank == 2
        and fits_block(node.attr("group"))
        and x.dtype is DType.F32
        and isinstance(x.shape[-1], int)
    )


def _integer_linear(
    g: Graph,
    x: Value,
    codes: Value,
    scales: Value,
    zeros: Value,
    bias: Value | None,
    group: int,
) -> Value:
    size = x.shape[-1]
    assert isinstance(size, int)
    return times(g, x, Codes(g, codes, scales, zeros, group, size), bias, accuracy=4)


ROWS: Rows = {
    "linear": Row(_linear, _fits_linear),
    "quantized_gather": Row(_gather, _fits_gather),
    "quantized_linear": Row(_integer_linear, _fits_integer),
}
