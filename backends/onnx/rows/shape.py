"""Ops that move elements."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Rows
from smelt.backends.onnx.value import Value
from smelt.ir.dims import Size
from smelt.ir.types import DType

FIRST = -(2**63)


def _expand(g: Graph, x: Value, shape: tuple[Size, ...]) -> Value:
    return x if x.shape == shape else g.op("Expand", x, g.shape(shape))


def _concat(g: Graph, *xs: Value, axis: int) -> Value:
    return g.op("Concat", *xs, axis=axis % xs[0].rank)


def _slice(g: Graph, x: Value, axis: int, start: Size, stop: Size, step: int) -> Value:
    where = axis % x.rank
    if (start, stop, step) == (0, x.shape[where], 1):
        return x
    return g.op("Slice", x, g.size(start), g.size(stop), g.ints(where), g.ints(step))


def _flip(g: Graph, x: Value, axis: int) -> Value:
    return g.op("Slice", x, g.ints(-1), g.ints(FIRST), g.ints(axis % x.rank), g.ints(-1))


def _pad(g: Graph, x: Value, axis: int, before: Size, after: Size, value: float) -> Value:
    widths = g.shape((before, after))
    return g.op("Pad", x, widths, g.number(value, x.dtype), g.ints(axis % x.rank))


def _gather(g: Graph, x: Value, indices: Value, axis: int) -> Value:
    return g.op("Gather", x, indices, axis=axis % x.rank)


def _full(g: Graph, shape: tuple[Size, ...], value: float, dtype: DType) -> Value:
    return g.op("Expand", g.number(value, dtype), g.shape(shape))


def _arange(g: Graph, stop: Size, start: Size) -> Value:
    return g.op("Range", g.scalar(start), g.scalar(stop), g.number(1, DType.I64))


ROWS: Rows = {
    "reshape": lambda g, x, shape: x if x.shape == shape else g.reshape(x, shape),
    "permute": lambda g, x, axes: g.op("Transpose", x, perm=list(axes)),
    "expand": _expand,
    "concat": _concat,
    "slice": _slice,
    "flip": _flip,
    "pad": _pad,
    "gather": _gather,
    "gather_elements": lambda g, x, i, axis: g.op("GatherElements", x, i, axis=axis % x.rank),
    "arange": _arange,
    "full": _full,
}
