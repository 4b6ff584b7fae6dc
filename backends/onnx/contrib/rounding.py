"""Activations as int8 terms, spelled out: codes times a scale, of x and of what they leave over."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.value import Value
from smelt.ir.types import DType


def stacked_terms(g: Graph, x: Value, group: int, terms: int) -> Value:
    """x [...] as [terms, ...] whose sum it is: rounded terms, and last what they leave over."""
    rounded, rest = _terms(g, x, group, terms - 1)
    rows = [g.op("Unsqueeze", t, g.ints(0)) for t in (*rounded, rest)]
    return g.op("Concat", *rows, axis=0)


def rounded(g: Graph, x: Value, group: int, terms: int) -> Value:
    """The sum of x's first terms, all rounded."""
    found, _ = _terms(g, x, group, terms)
    total = found[0]
    for term in found[1:]:
        total = g.op("Add", total, term)
    return total


def _terms(g: Graph, x: Value, group: int, count: int) -> tuple[list[Value], Value]:
    """So many rounded terms and the rest, in x's shape."""
    size = x.shape[-1]
    assert isinstance(size, int)
    extra = -size % group
    padded, last = (*x.shape[:-1], size + extra), g.ints(x.rank - 1)
    apart = (*x.shape[:-1], (size + extra) // group, group)
    wide = x
    if extra:
        wide = g.op("Pad", x, g.ints(0, extra), g.number(0, DType.F32), last)
    rest = g.reshape(wide, apart, padded)
    found: list[Value] = []
    limit = g.number(127, DType.F32)
    for _ in range(count):
        peak = g.op("ReduceMax", g.op("Abs", rest), g.ints(x.rank), keepdims=1)
        # Nothing is divided by zero; what is smaller stays for the next term.
        some = g.op("Max", peak, g.number(1e-30, DType.F32))
        codes = g.op("Round", g.op("Mul", rest, g.op("Div", limit, some)))
        found.append(g.op("Mul", codes, g.op("Div", peak, limit)))
        rest = g.op("Sub", rest, found[-1])

    def joined(term: Value) -> Value:
        flat = g.reshape(term, padded, apart)
        return g.op("Slice", flat, g.ints(0), g.ints(size), last) if extra else flat

    return [joined(term) for term in found], joined(rest)
