"""The rows of each dialect, and which ops they cover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from smelt.backends.onnx.contrib import attention, experts, heads
from smelt.backends.onnx.contrib import matrix as contrib_matrix
from smelt.backends.onnx.contrib import norms as contrib_norms
from smelt.backends.onnx.contrib import quantized as contrib_quantized
from smelt.backends.onnx.row import Dialect, Row, Rows
from smelt.backends.onnx.rows import (
    activations,
    elementwise,
    leaves,
    matrix,
    norms,
    quantized,
    recurrent,
    reduce,
    shape,
)
from smelt.ir.ops import OPS
from smelt.ir.tensor import Tensor

_STANDARD: tuple[Rows, ...] = (
    leaves.ROWS,
    elementwise.ROWS,
    shape.ROWS,
    reduce.ROWS,
    matrix.ROWS,
    recurrent.ROWS,
    activations.ROWS,
    norms.ROWS,
    quantized.ROWS,
)

_CONTRIB: tuple[Rows, ...] = (
    attention.ROWS,
    attention.MORE,
    heads.ROWS,
    contrib_norms.ROWS,
    contrib_quantized.ROWS,
    contrib_matrix.ROWS,
    experts.ROWS,
)

#: Tables of each dialect; of several rows for an op, the first that accepts the node is taken.
TABLES: Mapping[Dialect, tuple[Rows, ...]] = {
    "standard": _STANDARD,
    "ort": (*_CONTRIB, *_STANDARD),
}

#: Ops without a row, and why.
EXEMPT = {
    "input": "made by emit",
    "quantize_weight": "evaluated at compile time",
}


@cache
def rows(dialect: Dialect) -> dict[str, tuple[Row, ...]]:
    """The candidate rows of each op, in the order in which they are tried."""
    found: dict[str, tuple[Row, ...]] = {}
    for table in TABLES[dialect]:
        for name, row in table.items():
            each = row if isinstance(row, Row) else Row(row)
            found[name] = (*found.get(name, ()), each)
    return found


def choose(node: Tensor, dialect: Dialect) -> Row | None:
    """The row for a node, or None where the composite is to be expanded."""
    candidates = rows(dialect).get(node.op.name, ())
    return next((row for row in candidates if row.accepts(node)), None)


def composites(dialect: Dialect) -> frozenset[str]:
    """Names of the composites that the dialect has rows for; the rest is expanded."""
    return frozenset(name for name in rows(dialect) if OPS[name].is_composite)


@dataclass(frozen=True)
class Coverage:
    """What one dialect does with each op."""

    rows: tuple[str, ...]
    expanded: tuple[str, ...]
    exempt: tuple[str, ...]
    missing: tuple[str, ...]


def coverage(dialect: Dialect) -> Coverage:
    """Each op by what becomes of it; ``missing`` names primitives that nothing covers."""
    known = rows(dialect)
    without = [op for name, op in OPS.items() if name not in known]
    return Coverage(
        tuple(sorted(known)),
        tuple(sorted(op.name for op in without if op.is_composite)),
        tuple(sorted(op.name for op in without if op.name in EXEMPT)),
        tuple(sorted(o.name for o in without if not o.is_composite and o.name not in EXEMPT)),
    )
