"""Mixtures of experts: each multiplies only the rows that chose it.

An expert that nobody chose multiplies no rows, so its weights are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from smelt.backends.onnx.codes import Codes, are_stored
from smelt.backends.onnx.contrib.packing import fits_block, halves, whole
from smelt.backends.onnx.contrib.quantized import FLOATS, raised, times
from smelt.backends.onnx.contrib.rounding import rounded
from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.value import Value
from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


def _fits(node: Tensor) -> bool:
    x, weight = node.inputs[:2]
    if x.dtype is not DType.F32 or not _is_known((*weight.shape, x.shape[-1])):
        return False
    if weight.op.name != "dequantize":
        return True
    return are_stored(weight) and fits_block(weight.attr("group"))


def _fits_codes(node: Tensor) -> bool:
    x = node.inputs[0]
    is_stored = are_stored(node, first=1) and fits_block(node.attr("group"))
    return is_stored and x.dtype is DType.F32 and _is_known(x.shape[-1:])


def _is_known(sizes: Sequence[object]) -> bool:
    return all(isinstance(size, int) for size in sizes)


def _grouped_linear(g: Graph, x: Value, weight: Value, indices: Value, bias: Value | None) -> Value:
    if weight.op == "dequantize":
        return _over_codes(g, x, Codes.of(g, weight), indices, bias)
    y = _over_experts(g, x, weight, indices)
    return _finished(g, y, indices, bias, weight.shape[1])


def _quantized(
    g: Graph,
    x: Value,
    codes: Value,
    scales: Value,
    zeros: Value,
    indices: Value,
    bias: Value | None,
    group: int,
    terms: int,
) -> Value:
    size = x.shape[-1]
    assert isinstance(size, int)
    q = Codes(g, codes, scales, zeros, group, size)
    near = rounded(g, x, group, terms).typed(x.type)
    return _over_codes(g, near, q, indices, bias)


def _over_codes(g: Graph, x: Value, q: Codes, indices: Value, bias: Value | None) -> Value:
    """Each expert by nodes of its own: the kernels are quick with codes known beforehand only."""
    experts, out, _ = q.scales.shape
    assert isinstance(experts, int)
    flat = _flat(g, x, indices)
    y = _nothing(g, indices, out)
    for expert in range(experts):
        mine, places = _chosen(g, indices, expert)
        rows = g.op("Gather", flat, mine, axis=0)
        if q.bits == 4:
            part = times(g, rows, q, whole(g, q, blocked=True, expert=expert), None, FLOATS)
        else:
            high, low = halves(g, q, blocked=True, expert=expert)
            above = times(g, raised(g, rows, high), q, high, None, FLOATS)
            part = g.op("Add", above, times(g, rows, q, low, None, FLOATS))
        y = g.op("ScatterND", y, places, part)
    return _finished(g, y, indices, bias, out)


def _chosen(g: Graph, indices: Value, expert: int) -> tuple[Value, Value]:
    """The rows that chose an expert: their numbers, and the same as a column."""
    flat = g.once(("flat", indices), lambda: g.reshape(indices, (prod(indices.shape),)))

    def find() -> Value:
        found = g.op("NonZero", g.op("Equal", flat, g.number(expert, DType.I64)))
        return g.op("Squeeze", found, g.ints(0))

    mine = g.once(("mine", indices, expert), find)
    column = g.once(("column", mine), lambda: g.op("Unsqueeze", mine, g.ints(1)))
    return mine, column


def _nothing(g: Graph, indices: Value, out: Size) -> Value:
    """Zeros [rows, out] to put results into."""
    return g.op("Expand", g.number(0, DType.F32), g.shape((prod(indices.shape), out)))


def _flat(g: Graph, x: Value, indices: Value) -> Value:
    """x with one row for each index: [rows, in]."""
    inner = x.shape[-1]
    shape = (*indices.shape, inner)
    wide = x if x.shape == shape else g.op("Expand", x, g.shape(shape))
    rows = (prod(indices.shape), inner)
    return g.reshape(wide, rows, shape).typed(Type(rows, x.dtype))


def _over_experts(g: Graph, x: Value, weight: Value, indices: Value) -> Value:
    """[rows, out]: a Scan over the experts' matrices."""
    experts, out, inner = weight.shape
    assert isinstance(experts, int)
    rows = prod(indices.shape)
    flat, chosen = _flat(g, x, indices), g.reshape(indices, (rows,))
    first, second = g.ints(0), g.ints(1)

    def step(y: Value, matrix: Value, expert: Value) -> tuple[Value, ...]:
        mine = g.op("Squeeze", g.op("NonZero", g.op("Equal", chosen, expert)), first)
        part = g.op("Gemm", g.op("Gather", flat, mine, axis=0), matrix, transB=1)
        return (g.op("ScatterND", y, g.op("Unsqueeze", mine, second), part),)

    f32 = DType.F32
    types = [Type((rows, out), f32), Type((out, inner), f32), Type((), DType.I64)]
    body = g.body("experts", types, step)
    numbers = g.const(np.arange(experts))
    start = _nothing(g, indices, out)
    return g.op("Scan", start, weight, numbers, body=body, num_scan_inputs=2)


def _finished(g: Graph, y: Value, indices: Value, bias: Value | None, out: Size) -> Value:
    shape = (*indices.shape, out)
    whole_y = g.reshape(y, shape, (prod(indices.shape), out))
    return whole_y if bias is None else g.op("Add", whole_y, g.op("Gather", bias, indices, axis=0))


ROWS: Rows = {
    "grouped_linear": Row(_grouped_linear, _fits),
    "quantized_grouped_linear": Row(_quantized, _fits_codes),
}
