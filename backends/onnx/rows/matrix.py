"""Matrix products, convolutions and scans."""

from __future__ import annotations

from math import prod

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Rows, direct
from smelt.backends.onnx.rows.quantized import linear_quantized
from smelt.backends.onnx.value import Value


def linear(g: Graph, x: Value, weight: Value, bias: Value | None) -> Value:
    """x times weight transposed; a weight of one use lies transposed in the file."""
    if weight.op == "dequantize" and weight.operands:
        y = linear_quantized(g, x, weight)
        return y if bias is None else g.op("Add", y, bias)
    if weight.is_weight and weight.node is not None:
        if weight.node.attr("name") in g.shared:
            return rows_gemm(g, x, weight, bias)
        y = g.op("MatMul", x, g.transposed(weight))
    else:
        y = g.op("MatMul", x, g.op("Transpose", weight, perm=[1, 0]))
    return y if bias is None else g.op("Add", y, bias)


def rows_gemm(g: Graph, x: Value, weight: Value, bias: Value | None) -> Value:
    """With the weight as it lies: an embedding table that is also the head is then stored once."""
    rows = g.reshape(x, (prod(x.shape[:-1]), x.shape[-1]))
    y = g.op("Gemm", rows, weight, bias, transB=1)
    return g.reshape(y, (*x.shape[:-1], weight.shape[0]), (prod(x.shape[:-1]), weight.shape[0]))


def _grouped_linear(g: Graph, x: Value, weight: Value, indices: Value, bias: Value | None) -> Value:
    """Every expert on every row, then the chosen ones: dense, and no sizes depend on data."""
    experts, out, inner = weight.shape
    lead = x.shape[:-1]
    flat = g.reshape(weight, (experts * out, inner))
    y = g.op("MatMul", x, g.op("Transpose", flat, perm=[1, 0]))
    y = g.reshape(y, (*lead, experts, out), (*lead, experts * out))
    if bias is not None:
        y = g.op("Add", y, bias)
    index = g.op("Unsqueeze", indices, g.ints(-1, -2))
    target = g.op("Expand", y, g.shape((*indices.shape, experts, out)))
    picked = g.op(
        "GatherElements", target, g.op("Expand", index, g.shape((*indices.shape, 1, out))), axis=-2
    )
    return g.op("Squeeze", picked, g.ints(-2))


def _conv(
    g: Graph,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Value:
    return g.op(
        "Conv",
        x,
        weight,
        bias,
        strides=list(stride),
        pads=[*padding[0::2], *padding[1::2]],
        dilations=list(dilation),
        group=groups,
    )


ROWS: Rows = {
    "matmul": direct("MatMul"),
    "linear": linear,
    "grouped_linear": _grouped_linear,
    "conv": _conv,
}
