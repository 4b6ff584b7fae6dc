"""Activations and norms that onnxruntime has kernels for."""

from __future__ import annotations

from typing import Any

import numpy as np

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows, direct
from smelt.backends.onnx.rows.norms import has_width, ones, width
from smelt.backends.onnx.value import Value
from smelt.backends.onnx.weights_file import Stored
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

Array = np.ndarray[Any, Any]


def is_f32(node: Tensor) -> bool:
    return node.inputs[0].dtype is DType.F32


def _fits(node: Tensor) -> bool:
    return is_f32(node) and has_width(node)


def _fits_sum(node: Tensor) -> bool:
    x, y = node.inputs[:2]
    return _fits(node) and x.shape == y.shape and x.type.rank == 3


def scaled(g: Graph, x: Value, weight: Value | None, offset: float) -> Value:
    """The weight of a norm with its offset added; ones without a weight."""
    if weight is None:
        return ones(g, x)
    if not offset:
        return weight
    if not weight.is_weight:
        return g.op("Add", weight, g.number(offset, DType.F32))

    def change(array: Array) -> Stored:
        import onnx_ir as ir

        return Stored(array + np.float32(offset), ir.DataType.FLOAT, array.shape)

    return g.weight(weight, f"plus_{offset:g}", change)


def _rms_norm(g: Graph, x: Value, weight: Value | None, eps: float, offset: float) -> Value:
    scale = scaled(g, x, weight, offset)

    def norm(value: Value) -> Value:
        return g.op(
            "SimplifiedLayerNormalization", value, scale, axis=-1, epsilon=eps, stash_type=1
        )

    if x.rows is None:
        return norm(x)
    # Heads lie beside one another in the rows, each is normalized on its own.
    batch, heads, seq, dim = x.shape
    flat = (batch, seq, heads * dim)
    apart = norm(g.reshape(x.rows, (batch, seq, heads, dim), flat))
    rows = g.reshape(apart, flat, (batch, seq, heads, dim))
    return Value(x.type, make=lambda: g.op("Transpose", apart, perm=[0, 2, 1, 3]), rows=rows)


def _add_rms_norm(
    g: Graph, x: Value, y: Value, weight: Value | None, eps: float, offset: float
) -> tuple[Value, Value]:
    scale = scaled(g, x, weight, offset)
    results = g.ops(
        "com.microsoft.SkipSimplifiedLayerNormalization", x, y, scale, outputs=4, epsilon=eps
    )
    return results[3], results[0]


def _add_layer_norm(
    g: Graph, x: Value, y: Value, weight: Value | None, bias: Value | None, eps: float
) -> tuple[Value, Value]:
    scale = ones(g, x) if weight is None else weight
    shift = g.const(np.zeros(width(x), np.float32)) if bias is None else bias
    results = g.ops(
        "com.microsoft.SkipLayerNormalization", x, y, scale, shift, outputs=4, epsilon=eps
    )
    return results[3], results[0]


ROWS: Rows = {
    "rms_norm": Row(_rms_norm, _fits),
    "add_rms_norm": Row(_add_rms_norm, _fits_sum),
    "add_layer_norm": Row(_add_layer_norm, _fits_sum),
    "silu": Row(direct("com.microsoft.QuickGelu", alpha=1.0), is_f32),
    "gelu_sigmoid": Row(direct("com.microsoft.QuickGelu", alpha=1.702), is_f32),
    "gelu_tanh": Row(direct("com.microsoft.FastGelu"), is_f32),
}
