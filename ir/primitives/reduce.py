"""Reductions, scans and selections along axes."""

from __future__ import annotations

from smelt.errors import SmeltError
from smelt.ir.dims import Size
from smelt.ir.op import primitive
from smelt.ir.primitives.rules import axis_of, is_float, replace, typed
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


def _reduced(x: Tensor, axes: tuple[int, ...], keepdims: bool) -> tuple[Size, ...]:
    gone = {axis_of(x, axis) for axis in axes}
    if len(gone) != len(axes):
        raise SmeltError(f"axes {axes} repeat an axis")
    kept = ((1 if i in gone else size) for i, size in enumerate(x.shape))
    return tuple(size for i, size in enumerate(kept) if keepdims or i not in gone)


@primitive
def sum(x: Tensor, axes: tuple[int, ...] = (-1,), keepdims: bool = True) -> Type:
    """The sum over axes."""
    return typed(x, _reduced(x, axes, keepdims))


@primitive
def mean(x: Tensor, axes: tuple[int, ...] = (-1,), keepdims: bool = True) -> Type:
    """The arithmetic mean over axes."""
    is_float(x)
    return typed(x, _reduced(x, axes, keepdims))


@primitive
def max(x: Tensor, axes: tuple[int, ...] = (-1,), keepdims: bool = True) -> Type:
    """The largest value over axes."""
    return typed(x, _reduced(x, axes, keepdims))


@primitive
def min(x: Tensor, axes: tuple[int, ...] = (-1,), keepdims: bool = True) -> Type:
    """The smallest value over axes."""
    return typed(x, _reduced(x, axes, keepdims))


@primitive
def argmax(x: Tensor, axis: int = -1) -> Type:
    """The index of the first largest value along an axis, which goes away; i64."""
    where = axis_of(x, axis)
    return Type((*x.shape[:where], *x.shape[where + 1 :]), DType.I64)


@primitive
def cumsum(x: Tensor, axis: int) -> Type:
    """The running sum along an axis, each element included."""
    axis_of(x, axis)
    return x.type


@primitive
def topk(x: Tensor, k: int) -> tuple[Type, Type]:
    """The k largest of the last axis in falling order (ties: lower index first), and their i64
    indices.
    """
    size = x.shape[-1]
    if isinstance(size, int) and k > size:
        raise SmeltError(f"k is {k}, the last axis has {size}")
    shape = replace(x.shape, x.type.rank - 1, k)
    return typed(x, shape), Type(shape, DType.I64)
