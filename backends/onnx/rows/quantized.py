"""Weights that are stored as integers and read through DequantizeLinear.

Scales are stored as f32, so that scale · (code - zero) is computed in f32, where it is exact.
Symmetric codes become signed ones without a zero point: the form that TensorRT has kernels for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from smelt.backends.onnx.codes import Codes, are_stored, pack4
from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.value import Value
from smelt.backends.onnx.weights_file import Stored
from smelt.ir.types import DType

Array = np.ndarray[Any, Any]


def dequantized(g: Graph, q: Codes, *, transposed: bool = False) -> Value:
    """The matrix in f32, padding included; transposed it is [in, out]."""
    axis = 0 if transposed else q.codes.rank - 1
    form = "transposed" if transposed else "f32"
    scales = g.weight(q.scales, form, lambda a: _f32(a, transposed))
    if not transposed and _name(q.codes) in g.shared:
        codes, zeros = g.weight(q.codes), _zeros_as_they_lie(g, q)
    else:
        form = "transposed" if transposed else "signed"
        codes = g.weight(q.codes, form, lambda a: _codes(a, q, transposed))
        zeros = None
        if q.zero is None:
            zeros = g.weight(q.zeros, form, lambda a: _codes(a, q, transposed))
    return g.op("DequantizeLinear", codes, scales, zeros, axis=axis, block_size=q.group)


def _zeros_as_they_lie(g: Graph, q: Codes) -> Value | None:
    """Zero points for codes that are stored as a reader of single rows wants them: unpacked."""
    if q.zero is None:
        return g.weight(q.zeros)
    if q.zero == 0:
        return None
    groups = tuple(size for size in q.scales.shape if isinstance(size, int))
    return g.const(np.full(groups, q.zero, q.codes.dtype.numpy))


def _name(weight: Value) -> str:
    assert weight.node is not None
    name: str = weight.node.attr("name")
    return name


def _codes(array: Array, q: Codes, transposed: bool) -> Stored:
    import onnx_ir as ir

    if transposed:
        array = array.T
    if q.zero is not None:
        array = (array.astype(np.int16) - q.zero).astype(np.int8)
    if q.bits == 4:
        kind = ir.DataType.UINT4 if q.zero is None else ir.DataType.INT4
        return Stored(pack4(array), kind, array.shape)
    kind = ir.DataType.UINT8 if array.dtype == np.uint8 else ir.DataType.INT8
    return Stored(array, kind, array.shape)


def _f32(array: Array, transposed: bool) -> Stored:
    import onnx_ir as ir

    wide = (array.T if transposed else array).astype(np.float32)
    return Stored(wide, ir.DataType.FLOAT, wide.shape)


def linear_quantized(g: Graph, x: Value, weight: Value) -> Value:
    """x times a dequantized matrix transposed."""
    q = Codes.of(g, weight)
    wide = g.wide(x)
    if q.width != q.size:
        # Columns of padding meet zeros.
        widths = g.ints(0, q.width - q.size)
        wide = g.op("Pad", wide, widths, g.number(0, DType.F32), g.ints(x.rank - 1))
    if _name(q.codes) in g.shared:
        # A table that is also the head lies by rows, and is stored once.
        y = g.op("MatMul", wide, g.op("Transpose", dequantized(g, q), perm=[1, 0]))
    else:
        y = g.op("MatMul", wide, dequantized(g, q, transposed=True))
    return g.narrow(y, x.dtype)


def _dequantize(
    g: Graph, codes: Value, scales: Value, zeros: Value, group: int, size: int
) -> Value:
    q = Codes(g, codes, scales, zeros, group, size)
    whole = dequantized(g, q)
    if q.width == size:
        return whole
    return g.op("Slice", whole, g.ints(0), g.ints(size), g.ints(codes.rank - 1))


ROWS: Rows = {
    "dequantize": Row(_dequantize, are_stored, lazy=True),
}
