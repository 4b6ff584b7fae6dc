"""Checks that several type rules share."""

from __future__ import annotations

from smelt.errors import SmeltError
from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


def same(left: Size, right: Size, what: str) -> None:
    """Refuse two sizes that must be equal and are not."""
    if left != right:
        raise SmeltError(f"{what}: {left} and {right} differ")


def same_dtype(*tensors: Tensor | None) -> DType:
    """The one dtype of all operands; refuses a mix, since nothing is cast implicitly."""
    present = [t for t in tensors if t is not None]
    dtype = present[0].dtype
    for tensor in present[1:]:
        if tensor.dtype is not dtype:
            raise SmeltError(
                f"operands are {dtype.value} and {tensor.dtype.value}", hint="cast one of them"
            )
    return dtype


def is_float(x: Tensor) -> None:
    if not x.dtype.is_float:
        raise SmeltError(f"operand is {x.dtype.value}, wants a float")


def is_rank(x: Tensor, rank: int, what: str) -> None:
    if x.type.rank != rank:
        raise SmeltError(f"{what} has rank {x.type.rank} ({x.type}), wants {rank}")


def broadcast(*shapes: tuple[Size, ...]) -> tuple[Size, ...]:
    """The shape of elementwise work over these shapes (numpy's rule, sizes symbolic)."""
    rank = max(map(len, shapes))
    result: list[Size] = []
    for axis in range(-rank, 0):
        size: Size = 1
        for shape in shapes:
            if len(shape) < -axis or shape[axis] == 1:
                continue
            if size not in (1, shape[axis]):
                raise SmeltError(
                    f"shapes {_text(shapes)} do not broadcast: "
                    f"{size} and {shape[axis]} at axis {axis}"
                )
            size = shape[axis]
        result.append(size)
    return tuple(result)


def axis_of(x: Tensor, axis: int) -> int:
    """The axis counted from the front; refuses one outside the rank."""
    if not -x.type.rank <= axis < x.type.rank:
        raise SmeltError(f"axis {axis} is outside rank {x.type.rank} ({x.type})")
    return axis % x.type.rank


def replace(shape: tuple[Size, ...], axis: int, size: Size) -> tuple[Size, ...]:
    """The shape with one size replaced."""
    return (*shape[:axis], size, *shape[axis + 1 :])


def typed(x: Tensor, shape: tuple[Size, ...]) -> Type:
    return Type(shape, x.dtype)


def _text(shapes: tuple[tuple[Size, ...], ...]) -> str:
    return " and ".join("[" + ", ".join(map(str, s)) + "]" for s in shapes)
