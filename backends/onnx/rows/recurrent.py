"""Recurrences, as Scan over the sequence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Rows
from smelt.backends.onnx.rows.chunks import in_chunks
from smelt.backends.onnx.value import Value
from smelt.ir.dims import Size
from smelt.ir.types import Type


def _selective_scan(
    g: Graph, x: Value, delta: Value, a: Value, b: Value, c: Value, state: Value
) -> tuple[Value, ...]:
    column, row = g.ints(-1), g.ints(-2)
    scanned = (x, delta, b, c)
    last, y = _scan(
        g,
        (state,),
        scanned,
        lambda h, xt, dt, bt, ct: _step(g, a, column, row, h, xt, dt, bt, ct),
    )
    return y, last


def _step(
    g: Graph,
    a: Value,
    column: Value,
    row: Value,
    h: Value,
    x: Value,
    delta: Value,
    b: Value,
    c: Value,
) -> tuple[Value, Value]:
    """h ← exp(delta·a)·h + delta·b·x and y = c·h."""
    decay = g.op("Exp", g.op("Mul", g.op("Unsqueeze", delta, column), a))
    drive = g.op("Unsqueeze", g.op("Mul", delta, x), column)
    new = g.op("Add", g.op("Mul", decay, h), g.op("Mul", drive, g.op("Unsqueeze", b, row)))
    y = g.op("Squeeze", g.op("MatMul", new, g.op("Unsqueeze", c, column)), column)
    return new, y


def _without_time(x: Value) -> Type:
    shape: tuple[Size, ...] = (x.shape[0], *x.shape[2:])
    return Type(shape, x.dtype)


def _recurrence(g: Graph, x: Value, decay: Value, state: Value, kind: str) -> Value:
    def step(last: Value, xt: Value, dt: Value) -> tuple[Value, Value]:
        if kind == "max":
            y = g.op("Max", g.op("Add", last, dt), xt)
        else:
            y = g.op("Add", g.op("Mul", dt, last), xt)
        return y, g.op("Identity", y)

    _, y = _scan(g, (state,), (x, decay), step)
    return y


def _linear_attention(
    g: Graph, q: Value, k: Value, v: Value, decay: Value, beta: Value | None, state: Value
) -> tuple[Value, ...]:
    if beta is None and decay.shape[3] == 1:
        return in_chunks(g, q, k, v, decay, state)
    column, row = g.ints(-1), g.ints(-2)
    heads, key_heads = v.shape[2], k.shape[2]
    assert isinstance(heads, int) and isinstance(key_heads, int)
    served = np.repeat(np.arange(key_heads, dtype=np.int64), heads // key_heads)
    wide = (lambda x: x) if heads == key_heads else partial(_heads, g, g.const(served))
    rest = () if beta is None else (beta,)

    def step(
        s: Value, qt: Value, kt: Value, vt: Value, dt: Value, bt: Value | None = None
    ) -> tuple[Value, Value]:
        s = g.op("Mul", s, g.op("Unsqueeze", g.op("Exp", dt), column))
        keys = g.op("Unsqueeze", wide(kt), column)
        if bt is not None:
            known = g.op("ReduceSum", g.op("Mul", s, keys), row, keepdims=0)
            vt = g.op("Mul", g.op("Unsqueeze", bt, column), g.op("Sub", vt, known))
        s = g.op("Add", s, g.op("Mul", keys, g.op("Unsqueeze", vt, row)))
        y = g.op("MatMul", g.op("Unsqueeze", wide(qt), row), s)
        return s, g.op("Squeeze", y, row)

    last, y = _scan(g, (state,), (q, k, v, decay, *rest), step)
    return y, last


def _heads(g: Graph, served: Value, x: Value) -> Value:
    """Each key head as many times as there are heads that it serves, side by side."""
    return g.op("Gather", x, served, axis=1)


def _scan(
    g: Graph,
    states: tuple[Value, ...],
    scanned: tuple[Value, ...],
    step: Callable[..., tuple[Value, ...]],
) -> tuple[Value, ...]:
    """The last states, and what ``step`` gives of states and tokens, along axis 1."""
    types = (*(s.type for s in states), *(_without_time(v) for v in scanned))
    return g.ops(
        "Scan",
        *states,
        *scanned,
        outputs=2,
        body=g.body("scan", types, step),
        num_scan_inputs=len(scanned),
        scan_input_axes=[1] * len(scanned),
        scan_output_axes=[1],
    )


ROWS: Rows = {
    "selective_scan": _selective_scan,
    "recurrence": _recurrence,
    "linear_attention": _linear_attention,
}
