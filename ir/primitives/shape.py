"""Primitives that move elements and compute nothing."""

from __future__ import annotations

from math import prod

from smelt.errors import SmeltError
from smelt.ir.dims import Size
from smelt.ir.op import primitive
from smelt.ir.primitives.rules import axis_of, broadcast, replace, same, same_dtype, typed
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


@primitive
def reshape(x: Tensor, shape: tuple[Size, ...]) -> Type:
    """The same elements, row-major, in another shape."""
    same(x.type.size, prod(shape), f"elements of {x.type} and of [{', '.join(map(str, shape))}]")
    return typed(x, shape)


@primitive
def permute(x: Tensor, axes: tuple[int, ...]) -> Type:
    """The axes in another order."""
    if sorted(axes) != list(range(x.type.rank)):
        raise SmeltError(f"axes {axes} are not an order of the {x.type.rank} axes of {x.type}")
    return typed(x, tuple(x.shape[a] for a in axes))


@primitive
def expand(x: Tensor, shape: tuple[Size, ...]) -> Type:
    """Repeat axes of size 1 (and add leading axes) up to the shape."""
    if broadcast(x.shape, shape) != shape:
        raise SmeltError(f"{x.type} does not expand to [{', '.join(map(str, shape))}]")
    return typed(x, shape)


@primitive
def concat(*xs: Tensor, axis: int) -> Type:
    """Join along an axis."""
    where = axis_of(xs[0], axis)
    total: Size = 0
    for x in xs:
        same(x.type.rank, xs[0].type.rank, "ranks")
        for i, (a, b) in enumerate(zip(x.shape, xs[0].shape, strict=True)):
            if i != where:
                same(a, b, f"size of axis {i}")
        total = total + x.shape[where]
    return Type(replace(xs[0].shape, where, total), same_dtype(*xs))


@primitive
def slice(x: Tensor, axis: int, start: Size, stop: Size, step: int = 1) -> Type:
    """Elements start, start+step, … below stop along an axis; 0 ≤ start ≤ stop ≤ size."""
    where = axis_of(x, axis)
    size = x.shape[where]
    if step < 1:
        raise SmeltError(f"step {step}, wants 1 or more", hint="use flip to reverse")
    for bound in (start, stop, size - stop, stop - start):
        if isinstance(bound, int) and bound < 0:
            raise SmeltError(f"slice {start}:{stop} is outside axis {where} of {x.type}")
    return typed(x, replace(x.shape, where, (stop - start + (step - 1)) // step))


@primitive
def flip(x: Tensor, axis: int) -> Type:
    """The elements along an axis in reverse."""
    axis_of(x, axis)
    return x.type


@primitive
def pad(x: Tensor, axis: int, before: Size, after: Size, value: float = 0.0) -> Type:
    """Add elements of one value before and after an axis."""
    where = axis_of(x, axis)
    return typed(x, replace(x.shape, where, x.shape[where] + before + after))


@primitive
def gather(x: Tensor, indices: Tensor, axis: int = 0) -> Type:
    """Take whole slices of x along an axis by i64 index; negative indices are not allowed."""
    where = axis_of(x, axis)
    _is_index(indices)
    return typed(x, (*x.shape[:where], *indices.shape, *x.shape[where + 1 :]))


@primitive
def gather_elements(x: Tensor, indices: Tensor, axis: int) -> Type:
    """Take single elements of x along an axis: ``take_along_axis``; other axes have equal sizes."""
    where = axis_of(x, axis)
    _is_index(indices)
    for i, (a, b) in enumerate(zip(x.shape, indices.shape, strict=True)):
        if i != where:
            same(a, b, f"size of axis {i}")
    return typed(x, indices.shape)


def _is_index(indices: Tensor) -> None:
    if indices.dtype is not DType.I64:
        raise SmeltError(f"indices are {indices.dtype.value}, want i64")
