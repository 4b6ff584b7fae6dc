"""Leaves and state. An ``input`` is made by ``emit``; it has no row."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.value import Value
from smelt.ir.materialize import const_array
from smelt.ir.ops import OPS
from smelt.ir.types import DType, Type


def _param(g: Graph, name: str, type: Type) -> Value:
    return g.weight(Value(type, node=OPS["param"](name=name, type=type)))


def _weight(g: Graph, name: str, type: Type) -> Value:
    return g.weight(Value(type, node=OPS["weight"](name=name, type=type)))


def _const(g: Graph, value: float, dtype: DType, shape: tuple[int, ...]) -> Value:
    return g.const(const_array(OPS["const"](value=value, dtype=dtype, shape=shape)))


def _cache(g: Graph, x: Value, slot: str, axis: int, window: int | None) -> Value:
    """All of a slot: past and new. A ring is kept whole, though only its newest entries count."""
    if slot not in g.present:  # else attention has appended to it
        g.append(slot, g.op("Concat", g.past[slot], x, axis=axis % x.rank))
    return g.present[slot]


def _read(g: Graph, slot: str, type: Type) -> Value:
    return g.past[slot]


ROWS: Rows = {
    "param": Row(_param, lazy=True),
    "weight": Row(_weight, lazy=True),
    "const": Row(_const, lazy=True),
    "cache": Row(_cache, lazy=True),
    "read": Row(_read, lazy=True),
    "item": lambda g, whole, index: whole[index],
}
