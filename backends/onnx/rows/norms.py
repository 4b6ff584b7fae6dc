"""Normalizations."""

from __future__ import annotations

import numpy as np

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.value import Value
from smelt.errors import UnsupportedError
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


def width(x: Value) -> int:
    """The last size, which must be a number."""
    size = x.shape[-1]
    if not isinstance(size, int):
        raise UnsupportedError(f"onnx: a norm over {size} channels, wants a number")
    return size


def has_width(node: Tensor) -> bool:
    return isinstance(node.inputs[0].shape[-1], int)


def ones(g: Graph, x: Value) -> Value:
    return g.const(np.ones(width(x), np.float32))


def layer_norm(g: Graph, x: Value, weight: Value | None, bias: Value | None, eps: float) -> Value:
    scale = ones(g, x) if weight is None else g.wide(weight)
    shift = None if bias is None else g.wide(bias)
    y = g.op("LayerNormalization", g.wide(x), scale, shift, axis=-1, epsilon=eps)
    return g.narrow(y, x.dtype)


def _rms_norm(g: Graph, x: Value, weight: Value | None, eps: float, offset: float) -> Value:
    # In this order and with these ops: onnxruntime recognizes it and fuses it.
    wide = g.wide(x)
    square = g.op("ReduceMean", g.op("Pow", wide, g.number(2, DType.F32)), g.ints(-1), keepdims=1)
    root = g.op("Sqrt", g.op("Add", square, g.number(eps, DType.F32)))
    unit = g.op("Div", wide, root)
    if weight is None:
        return g.narrow(unit, x.dtype)
    if offset:
        scale = g.op("Add", g.wide(weight), g.number(offset, DType.F32))
        return g.narrow(g.op("Mul", unit, scale), x.dtype)
    return g.op("Mul", g.narrow(unit, x.dtype), weight)


ROWS: Rows = {
    "layer_norm": Row(layer_norm, has_width),
    "rms_norm": _rms_norm,
}
