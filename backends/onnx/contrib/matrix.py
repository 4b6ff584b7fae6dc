"""Matrix products that onnxruntime has a shorter form of."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.rows.matrix import linear
from smelt.backends.onnx.value import Value
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


def _fits(node: Tensor) -> bool:
    return node.dtype is DType.F32 and node.inputs[1].op.name in ("param", "weight")


def _linear(g: Graph, x: Value, weight: Value, bias: Value | None) -> Value:
    assert weight.node is not None
    if weight.node.attr("name") not in g.shared:
        return linear(g, x, weight, bias)
    # An embedding table that is also the head is stored once, by rows.
    y = g.op("com.microsoft.FusedMatMul", x, weight, transB=1)
    return y if bias is None else g.op("Add", y, bias)


ROWS: Rows = {"linear": Row(_linear, _fits)}
