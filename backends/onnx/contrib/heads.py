"""Splitting into heads, merging, and rotating, without moving elements where rows will do."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from smelt.backends.onnx.contrib.norms import is_f32
from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Row, Rows
from smelt.backends.onnx.value import Value
from smelt.ir.dims import Size, exact_divide
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


def rows_of(g: Graph, x: Value) -> Value:
    """x [batch, heads, seq, dim] as [batch, seq, heads·dim]."""
    if x.rows is not None:
        return x.rows
    batch, heads, seq, dim = x.shape
    moved = g.op("Transpose", x, perm=[0, 2, 1, 3])
    return g.reshape(moved, (batch, seq, heads * dim), (batch, seq, heads, dim))


def from_rows(g: Graph, rows: Value, shape: tuple[Size, ...]) -> Value:
    """A value [batch, heads, seq, dim] of rows, moved only if something asks for that form."""
    batch, heads, seq, dim = shape
    place = g.place

    def make() -> Value:
        before, g.place = g.place, place
        apart = g.reshape(rows, (batch, seq, heads, dim), (batch, seq, heads * dim))
        moved = g.op("Transpose", apart, perm=[0, 2, 1, 3])
        g.place = before
        return moved

    return Value(make=make, rows=rows)


def _split_heads(g: Graph, x: Value, heads: int) -> Value:
    batch, seq, width = x.shape
    dim = exact_divide(width, heads)
    assert dim is not None
    return from_rows(g, x, (batch, heads, seq, dim))


def _can_rotate(node: Tensor) -> bool:
    x, cos = node.inputs[:2]
    numbers = (x.shape[1], x.shape[3], cos.shape[2])
    return is_f32(node) and all(isinstance(n, int) for n in numbers)


def _rope(g: Graph, x: Value, cos: Value, sin: Value, interleaved: bool) -> Value:
    _, heads, _, dim = x.shape
    pairs = cos.shape[2]
    assert isinstance(heads, int) and isinstance(dim, int) and isinstance(pairs, int)
    positions = _positions(g, x, cos)
    is_partial = 2 * pairs < dim
    rotated = g.op(
        "com.microsoft.RotaryEmbedding",
        rows_of(g, x),
        positions,
        _table(g, cos),
        _table(g, sin),
        interleaved=int(interleaved),
        num_heads=heads,
        rotary_embedding_dim=2 * pairs if is_partial else 0,
    )
    return from_rows(g, rotated, x.shape)


def _table(g: Graph, table: Value) -> Value:
    """Angles of all tokens of a batch under one another: a cache that a token indexes."""
    rows = (prod(table.shape[:2]), table.shape[2])
    return _once(g, table, "table", lambda: g.reshape(table, rows))


def _positions(g: Graph, x: Value, cos: Value) -> Value:
    """The row of the table for each token."""
    batch, seq = x.shape[0], x.shape[2]
    if cos.shape[0] == 1 and batch != 1:
        return g.ints(0)  # one position for all: counted up from it

    def make() -> Value:
        count = batch * seq
        ramp = g.op("Range", g.scalar(0), g.scalar(count), g.number(1, DType.I64))
        return g.reshape(ramp, (batch, seq), (count,))

    return g.once(("positions", batch, seq), make)


def _once(g: Graph, value: Value, what: str, make: Callable[[], Value]) -> Value:
    # The value itself is part of the key, so that its id is not used again.
    return g.once((what, value), make)


ROWS: Rows = {
    "split_heads": _split_heads,
    "merge_heads": lambda g, x: rows_of(g, x),
    "rope": Row(_rope, _can_rotate),
}
