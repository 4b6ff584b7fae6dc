"""Pieces of tensors: their sizes, parts, and single rows."""

from __future__ import annotations

from itertools import accumulate
from math import prod
from typing import TYPE_CHECKING

from smelt.errors import SpecError
from smelt.frontend.layers.registry import layer
from smelt.ir import ops
from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator


@layer
def size(e: Evaluator, x: Tensor, axis: int) -> Size:
    """The size of an axis: a number, or a symbolic size."""
    return x.shape[axis]


@layer
def split(
    e: Evaluator, x: Tensor, parts: int | tuple[int, ...], axis: int = -1
) -> tuple[Tensor, ...]:
    """x cut along an axis: into ``parts`` equal parts, or parts of these sizes."""
    whole = x.shape[axis]
    if not isinstance(whole, int):
        raise SpecError(f"axis {axis} of {x.type} has no fixed size to split")
    if isinstance(parts, int):
        if parts < 1 or whole % parts:
            raise SpecError(f"{whole} does not divide into {parts} parts")
        parts = (whole // parts,) * parts
    if sum(parts) != whole:
        raise SpecError(f"parts {parts} make {sum(parts)}, axis {axis} has {whole}")
    where = axis % x.type.rank
    ends = tuple(accumulate(parts))
    return tuple(
        ops.slice(x, axis=where, start=end - count, stop=end)
        for end, count in zip(ends, parts, strict=True)
    )


@layer
def squeeze(e: Evaluator, x: Tensor, axis: int = -1) -> Tensor:
    """x without an axis of size 1."""
    where = axis % x.type.rank
    if x.shape[where] != 1:
        raise SpecError(f"axis {axis} of {x.type} has more than one element")
    return ops.reshape(x, shape=(*x.shape[:where], *x.shape[where + 1 :]))  # type: ignore[no-any-return]


@layer
def stack(e: Evaluator, *xs: Tensor, axis: int = 0) -> Tensor:
    """Tensors of one shape, one after another along a new axis."""
    where = axis % (xs[0].type.rank + 1)
    raised = (ops.reshape(x, shape=(*x.shape[:where], 1, *x.shape[where:])) for x in xs)
    return ops.concat(*raised, axis=where)  # type: ignore[no-any-return]


@layer
def rows(e: Evaluator, x: Tensor) -> Tensor:
    """x as a table: all axes but the last are one."""
    if x.type.rank == 2:
        return x
    return ops.reshape(x, shape=(prod(x.shape[:-1]), x.shape[-1]))  # type: ignore[no-any-return]


@layer
def first(e: Evaluator, x: Tensor) -> Tensor:
    """The first position of x: [batch, seq, dim] → [batch, dim]."""
    row = ops.slice(x, axis=1, start=0, stop=1)
    return ops.reshape(row, shape=(x.shape[0], *x.shape[2:]))  # type: ignore[no-any-return]


@layer
def last(e: Evaluator, x: Tensor, ids: Tensor | None = None, pad: int | None = None) -> Tensor:
    """The last position of x [batch, seq, dim] → [batch, dim]; with ``pad`` the last whose id is
    not it.
    """
    batch, seq, dim = x.shape
    if ids is None or pad is None:
        row = ops.slice(x, axis=1, start=seq - 1, stop=seq)
        return ops.reshape(row, shape=(batch, dim))  # type: ignore[no-any-return]
    real = ops.cast(ops.logical_not(ops.equal(ids, pad)), dtype=ids.dtype)
    newest = ops.argmax(real * ops.reshape(ops.arange(seq), shape=(1, seq)), axis=1)
    index = ops.expand(ops.reshape(newest, shape=(batch, 1, 1)), shape=(batch, 1, dim))
    return ops.reshape(ops.gather_elements(x, index, axis=1), shape=(batch, dim))  # type: ignore[no-any-return]
