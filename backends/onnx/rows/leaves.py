"""Leaves and state. An ``input`` is made by ``emit``; it has no row."""

from __future__ import annotations

from smelt.backends.onnx.dtypes import stored_dtype
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
    stored = stored_dtype(g.program.slots[slot])
    if slot in g.present:  # attention has appended to it
        return g.present[slot] if stored is x.dtype else g.cast(g.present[slot], x.dtype)
    new = x if stored is x.dtype else g.cast(x, stored)
    present = g.op("Concat", g.past[slot], new, axis=axis % x.rank)
    g.append(slot, present)
    return present if stored is x.dtype else g.cast(present, x.dtype)


def _read(g: Graph, slot: str, type: Type) -> Value:
    stored = stored_dtype(g.program.slots[slot])
    return g.past[slot] if stored is type.dtype else g.cast(g.past[slot], type.dtype)


ROWS: Rows = {
    "param": Row(_param, lazy=True),
    "weight": Row(_weight, lazy=True),
    "const": Row(_const, lazy=True),
    "cache": Row(_cache, lazy=True),
    "read": Row(_read, lazy=True),
    "item": lambda g, whole, index: whole[index],
}
