"""Leaves: inputs, parameters, constants, and state; and ``item`` of an op with several results."""

from __future__ import annotations

from smelt.errors import SmeltError
from smelt.ir.dims import Size
from smelt.ir.op import primitive
from smelt.ir.primitives.rules import axis_of, replace
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, TupleType, Type


@primitive
def input(name: str, type: Type) -> Type:
    """An input of the function, by name."""
    return type


@primitive
def param(name: str, type: Type) -> Type:
    """A tensor of the checkpoint, by its own name and shape.

    A ``*`` in the name stands for 0, 1, … up to the first size of the type: those tensors, stacked
    (the experts of a mixture).
    """
    return type


@primitive
def weight(name: str, type: Type) -> Type:
    """A tensor that the compiler made from parameters; the program keeps the expression by this
    name.
    """
    return type


@primitive
def const(
    value: float | bool | tuple[float, ...], dtype: DType, shape: tuple[int, ...] = ()
) -> Type:
    """A constant: one number filling the shape, or a flat tuple of all its elements, row-major."""
    count = 1
    for size in shape:
        count *= size
    if isinstance(value, tuple) and len(value) != count:
        raise SmeltError(f"{len(value)} values for shape {shape}, wants {count}")
    return Type(shape, dtype)


@primitive
def arange(stop: Size, start: Size = 0) -> Type:
    """The integers from start to stop, i64."""
    return Type((stop - start,), DType.I64)


@primitive
def full(shape: tuple[Size, ...], value: float, dtype: DType) -> Type:
    """A tensor of one repeated value with sizes known only at run time."""
    return Type(shape, dtype)


@primitive
def cache(x: Tensor, slot: str, axis: int = 2, window: int | None = None) -> Type:
    """Append x to a state slot along axis, and give all that the slot then holds, oldest first.

    With a window only the newest ``window`` entries are ever looked at, so a layout may forget the
    rest.
    """
    where = axis_of(x, axis)
    from smelt.ir.dims import symbol

    return Type(replace(x.shape, where, symbol("past") + x.shape[where]), x.dtype)


@primitive
def read(slot: str, type: Type) -> Type:
    """What a replaced state slot held when the call began (zeros at first)."""
    return type


@primitive
def item(x: Tensor, index: int) -> Type:
    """One result of an op with several."""
    if not isinstance(x.result, TupleType):
        raise SmeltError(f"{x.op.name} has one result")
    return x.result.items[index]
