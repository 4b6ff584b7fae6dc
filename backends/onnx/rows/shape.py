"""Ops that move elements."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Rows
from smelt.backends.onnx.value import Value
from smelt.ir.dims import Size
from smelt.ir.program import Function
from smelt.ir.tensor import Tensor
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
    parts = _parts(g, x, where)
    if (start, stop) in parts and step == 1:
        return _split(g, x, where, parts)[parts.index((start, stop))]
    return g.op("Slice", x, g.size(start), g.size(stop), g.ints(where), g.ints(step))


def slices_of(function: Function) -> dict[tuple[Tensor, int], list[Tensor]]:
    """The slices of each tensor along each axis."""
    found: dict[tuple[Tensor, int], list[Tensor]] = {}
    for node in function.nodes():
        if node.op.name == "slice":
            x = node.inputs[0]
            found.setdefault((x, node.attr("axis") % x.type.rank), []).append(node)
    return found


def _parts(g: Graph, x: Value, axis: int) -> list[tuple[Size, Size]]:
    """The slices of x where together they are all of it, one beside the other."""
    taken = g.slices.get((x.node, axis), []) if x.node is not None else []
    bounds = sorted({(n.attr("start"), n.attr("stop"), n.attr("step")) for n in taken}, key=str)
    if len(bounds) < 2 or not all(isinstance(b, int) for bound in bounds for b in bound):
        return []
    spans = sorted((start, stop) for start, stop, step in bounds if step == 1)
    ends = [0, *(stop for _, stop in spans)]
    is_whole = [start for start, _ in spans] == ends[:-1] and ends[-1] == x.shape[axis]
    return list(spans) if is_whole and len(spans) == len(bounds) else []


def _split(g: Graph, x: Value, axis: int, parts: list[tuple[Size, Size]]) -> tuple[Value, ...]:
    """All parts of x, cut at once."""
    assert x.node is not None
    key = (x.node, axis)
    if key not in g.splits:
        sizes = g.shape([stop - start for start, stop in parts])
        g.splits[key] = g.ops("Split", x, sizes, outputs=len(parts), axis=axis)
    return g.splits[key]


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
