"""Reductions, running sums and selections."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Build, Rows
from smelt.backends.onnx.value import Value


def _reduction(name: str) -> Build:
    def build(g: Graph, x: Value, axes: tuple[int, ...], keepdims: bool) -> Value:
        where = g.ints(*(axis % x.rank for axis in axes))
        return g.op(name, x, where, keepdims=int(keepdims))

    return build


ROWS: Rows = {
    "sum": _reduction("ReduceSum"),
    "mean": _reduction("ReduceMean"),
    "max": _reduction("ReduceMax"),
    "min": _reduction("ReduceMin"),
    "argmax": lambda g, x, axis: g.op("ArgMax", x, axis=axis % x.rank, keepdims=0),
    "cumsum": lambda g, x, axis: g.op("CumSum", x, g.ints(axis % x.rank)),
    "topk": lambda g, x, k: g.ops("TopK", x, g.ints(k), outputs=2),
}
