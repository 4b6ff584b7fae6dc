"""Products with quantized weights, and rows of quantized tables, by onnxruntime's kernels."""

from __future__ import annotations

from smelt.backends.onnx.codes import Codes, are_stored
from smelt.backends.onnx.contrib.packing import Part, fits_block, halves, whole
from smelt.backends.onnx.contrib.rounding import stacked_terms
from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.value import Value
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

FLOATS, INT8 = 0, 4  # accuracy levels: what activations are multiplied as


def times(g: Graph, x: Value, q: Codes, part: Part, bias: Value | None, accuracy: int) -> Value:
    """x times a part of a matrix transposed, whose factor x has already."""
    return g.op(
        "com.microsoft.MatMulNBits",
        x,
        part.codes,
        part.scales,
        part.zeros,
        None,
        bias,
        K=q.size,
        N=q.scales.shape[-2],
        bits=part.bits,
        block_size=q.group,
        accuracy_level=accuracy,
    )


def _is_matrix(weight: Tensor) -> bool:
    """Whether a ``dequantize`` is of a stored matrix that MatMulNBits takes."""
    if weight.op.name != "dequantize":
        return False
    return are_stored(weight) and weight.type.rank == 2 and fits_block(weight.attr("group"))


def _fits_linear(node: Tensor) -> bool:
    return _is_matrix(node.inputs[1]) and node.dtype is DType.F32


def _linear(g: Graph, x: Value, weight: Value, bias: Value | None) -> Value:
    q = Codes.of(g, weight)
    if q.bits == 4:
        return times(g, x, q, whole(g, q, blocked=True), bias, FLOATS)
    high, low = halves(g, q, blocked=True)
    above = times(g, raised(g, x, high), q, high, None, FLOATS)
    return g.op("Add", above, times(g, x, q, low, bias, FLOATS))


def raised(g: Graph, x: Value, part: Part) -> Value:
    """x times what the part counts for."""
    return x if part.factor == 1 else g.op("Mul", x, g.number(part.factor, DType.F32))


def _fits_gather(node: Tensor) -> bool:
    return are_stored(node) and node.inputs[0].type.rank == 2 and fits_block(node.attr("group"))


def _gather(
    g: Graph, codes: Value, scales: Value, zeros: Value, indices: Value, group: int, size: int
) -> Value:
    q = Codes(g, codes, scales, zeros, group, size)
    if q.bits == 8 and _is_multiplied(g, codes):
        # The table lies in halves for its other reader; both terms and their sum are exact.
        high, low = (_rows(g, q, part, indices) for part in halves(g, q, blocked=False))
        rows = g.op("Add", g.op("Mul", high, g.number(16, DType.F32)), low)
    else:
        rows = _rows(g, q, whole(g, q, blocked=False), indices)
    if q.width == size:
        return rows
    return g.op("Slice", rows, g.ints(0), g.ints(size), g.ints(indices.rank))


def _rows(g: Graph, q: Codes, part: Part, indices: Value) -> Value:
    return g.op(
        "com.microsoft.GatherBlockQuantized",
        part.codes,
        indices,
        part.scales,
        part.zeros,
        bits=part.bits,
        block_size=q.group,
        gather_axis=0,
        quantize_axis=1,
    )


def _is_multiplied(g: Graph, codes: Value) -> bool:
    """Whether a ``linear`` multiplies with the same codes as floats."""
    return any(
        node.op.name == "linear" and _fits_linear(node) and node.inputs[1].inputs[0] is codes.node
        for node in g.program.nodes()
    )


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
    terms: int,
) -> Value:
    size = x.shape[-1]
    assert isinstance(size, int)
    q = Codes(g, codes, scales, zeros, group, size)
    part = whole(g, q, blocked=True)
    if terms == 1:
        return times(g, x, q, part, bias, INT8)
    # The kernel rounds each row of its input; one row a term, so the weights are read once.
    each = times(g, stacked_terms(g, x, group, terms), q, part, None, INT8)
    y = g.op("ReduceSum", each, g.ints(0), keepdims=0)
    return y if bias is None else g.op("Add", y, bias)


ROWS: Rows = {
    "linear": Row(_linear, _fits_linear),
    "quantized_gather": Row(_gather, _fits_gather),
    "quantized_linear": Row(_integer_linear, _fits_integer),
}
