"""Recurrences, as Scan over the sequence."""

from __future__ import annotations

from smelt.backends.onnx.graph import Graph
from smelt.backends.onnx.row import Rows
from smelt.backends.onnx.value import Value
from smelt.ir.dims import Size
from smelt.ir.types import Type


def _selective_scan(
    g: Graph, x: Value, delta: Value, a: Value, b: Value, c: Value, state: Value
) -> tuple[Value, ...]:
    column, row = g.ints(-1), g.ints(-2)
    scanned = (x, delta, b, c)
    body = g.body(
        "scan",
        (state.type, *(_without_time(v) for v in scanned)),
        lambda h, xt, dt, bt, ct: _step(g, a, column, row, h, xt, dt, bt, ct),
    )
    last, y = g.ops(
        "Scan",
        state,
        *scanned,
        outputs=2,
        body=body,
        num_scan_inputs=len(scanned),
        scan_input_axes=[1] * len(scanned),
        scan_output_axes=[1],
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


ROWS: Rows = {"selective_scan": _selective_scan}
