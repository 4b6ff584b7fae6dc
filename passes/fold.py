"""Fold what is known: numbers, steps that change nothing, and chains of moves that are one move.

Every rule keeps values exactly, bit for bit (but for the sign of zero); that is why products of
numbers are not regrouped around a tensor, and why exp or sin of a number stays.
"""

from __future__ import annotations

from math import prod

import numpy as np

from smelt.ir import ops
from smelt.ir.dims import Dim, Size
from smelt.ir.materialize import RULES as EVALUATE
from smelt.ir.materialize import const_array
from smelt.ir.primitives.rules import axis_of, broadcast
from smelt.ir.program import Program
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType
from smelt.passes.match import Rules, one

NUMBERS = Rules()
NEUTRAL = Rules()
MOVES = Rules()

#: Ops that numpy and every backend compute to the same bits.
_EXACT = (
    *("add", "sub", "mul", "div", "neg", "abs", "sqrt", "maximum", "minimum", "floor", "round"),
    *("less", "less_equal", "equal", "where", "logical_and", "logical_or", "logical_not", "cast"),
    *("reshape", "permute", "expand", "concat", "slice", "pad", "flip"),
)

#: A folded constant may have this many elements; larger ones stay as their recipe.
MAX_ELEMENTS = 4096

#: Element types that hold every value of another.
_WIDER = {
    DType.BOOL: set(DType),
    DType.U8: {DType.U8, DType.I32, DType.I64, DType.F32, DType.F16},
    DType.I8: {DType.I8, DType.I32, DType.I64, DType.F32, DType.F16, DType.BF16},
    DType.I32: {DType.I32, DType.I64},
    DType.I64: {DType.I64},
    DType.F16: {DType.F16, DType.F32},
    DType.BF16: {DType.BF16, DType.F32},
    DType.F32: {DType.F32},
}


def fold(program: Program) -> Program:
    """Simplify until nothing changes."""
    return FOLD(program)


@NUMBERS.on(*_EXACT)
def numbers(node: Tensor) -> Tensor | None:
    """An op on constants alone is a constant."""
    if not node.inputs or any(t.op.name != "const" for t in node.inputs):
        return None
    shape = _fixed(node.shape)
    if shape is None or prod(shape) > MAX_ELEMENTS or _is_symbolic(node):
        return None
    with np.errstate(all="ignore"):
        arrays = [const_array(t) for t in node.inputs]
        if node.op.name == "div" and not node.dtype.is_float:
            value = np.floor_divide(*arrays)
        else:
            value = EVALUATE[node.op.name](*arrays, **dict(node.attrs))
    return _constant(np.asarray(value).astype(node.dtype.numpy, copy=False), node)


def _constant(value: np.ndarray[tuple[int, ...], np.dtype[np.generic]], node: Tensor) -> Tensor:
    flat = value.reshape(-1)
    shape = tuple(int(size) for size in value.shape)
    wide = flat.astype(np.float64) if node.dtype.is_float else flat
    items = tuple(wide.tolist())
    if not shape or (items and all(v == items[0] for v in items)):
        return one(ops.const(value=items[0], dtype=node.dtype, shape=shape))
    return one(ops.const(value=items, dtype=node.dtype, shape=shape))


@NEUTRAL.on("add", "mul")
def neutral_either_side(node: Tensor) -> Tensor | None:
    """x + 0, 0 + x, x · 1 and 1 · x are x."""
    a, b = node.inputs
    neutral = 0 if node.op.name == "add" else 1
    return _without(a, b, neutral) or _without(b, a, neutral)


@NEUTRAL.on("sub", "div", "pow")
def neutral_on_the_right(node: Tensor) -> Tensor | None:
    """x - 0, x / 1 and x to the power 1 are x."""
    x, number = node.inputs
    return _without(x, number, 0 if node.op.name == "sub" else 1)


def _without(x: Tensor, number: Tensor, neutral: int) -> Tensor | None:
    """x when the other operand is the neutral number and does not widen x by broadcasting."""
    if _number(number) != neutral or broadcast(x.shape, number.shape) != x.shape:
        return None
    return x


@NEUTRAL.on("neg")
def twice_negated(node: Tensor) -> Tensor | None:
    """-(-x) is x."""
    (x,) = node.inputs
    return x.inputs[0] if x.op.name == "neg" else None


@NEUTRAL.on("logical_and", "logical_or")
def known_condition(node: Tensor) -> Tensor | None:
    """``and true`` and ``or false`` change nothing."""
    neutral = node.op.name == "logical_and"
    for x, number in (node.inputs, node.inputs[::-1]):
        known = _number(number)
        if known is not None and bool(known) is neutral:
            return x if broadcast(x.shape, number.shape) == x.shape else None
    return None


@NEUTRAL.on("where")
def chosen(node: Tensor) -> Tensor | None:
    """``where`` of a known condition is one side."""
    condition, a, b = node.inputs
    known = _number(condition)
    if known is None:
        return None
    side = a if known else b
    return side if side.shape == node.shape else None


@NEUTRAL.on("cast")
def needless_cast(node: Tensor) -> Tensor | None:
    """A cast to the own type, and a way there through a type that holds every value."""
    (x,) = node.inputs
    if x.dtype is node.dtype:
        return x
    if x.op.name == "cast" and x.dtype in _WIDER[x.inputs[0].dtype]:
        return one(ops.cast(x.inputs[0], dtype=node.dtype))
    return None


@MOVES.on("slice", "concat", "pad", "flip")
def axis_from_the_front(node: Tensor) -> Tensor | None:
    """An axis has one name, so that equal moves are one node."""
    axis = node.attr("axis")
    if axis >= 0:
        return None
    return node.op.node(node.operands, {**dict(node.attrs), "axis": axis + node.type.rank})


@MOVES.on("reshape")
def reshape_chain(node: Tensor) -> Tensor | None:
    """A reshape to the same shape, of a reshape, or of one repeated number."""
    (x,) = node.inputs
    if x.shape == node.shape:
        return x
    if x.op.name == "reshape":
        return one(ops.reshape(x.inputs[0], shape=node.shape))
    if x.op.name == "full":
        return one(ops.full(shape=node.shape, value=x.attr("value"), dtype=x.dtype))
    return None


@MOVES.on("permute")
def permute_chain(node: Tensor) -> Tensor | None:
    """A permutation that moves nothing, or of a permutation, or that moves axes of size 1 only."""
    (x,) = node.inputs
    axes = node.attr("axes")
    if axes == tuple(range(len(axes))):
        return x
    if x.op.name == "permute":
        inner = x.attr("axes")
        return one(ops.permute(x.inputs[0], axes=tuple(inner[a] for a in axes)))
    moved = [a for a in axes if x.shape[a] != 1]
    if moved == sorted(moved):
        return one(ops.reshape(x, shape=node.shape))
    return None


@MOVES.on("expand")
def needless_expand(node: Tensor) -> Tensor | None:
    """An expand to the own shape, or of an expand."""
    (x,) = node.inputs
    if x.shape == node.shape:
        return x
    return one(ops.expand(x.inputs[0], shape=node.shape)) if x.op.name == "expand" else None


@MOVES.on("slice")
def needless_slice(node: Tensor) -> Tensor | None:
    """A slice of the whole, of a slice, or of exactly one joined part."""
    (x,) = node.inputs
    axis, start, stop = axis_of(x, node.attr("axis")), node.attr("start"), node.attr("stop")
    if start == 0 and stop == x.shape[axis] and node.attr("step") == 1:
        return x
    if x.op.name == "slice" and x.attr("step") == 1 and axis_of(x, x.attr("axis")) == axis:
        first = x.attr("start")
        bounds = {"start": first + start, "stop": first + stop, "step": node.attr("step")}
        return one(ops.slice(x.inputs[0], axis=axis, **bounds))
    if x.op.name == "concat" and axis_of(x, x.attr("axis")) == axis and node.attr("step") == 1:
        return _part(x, axis, start, stop)
    return None


def _part(joined: Tensor, axis: int, start: Size, stop: Size) -> Tensor | None:
    """What joined[start:stop] is when both ends are borders of its parts, or inside one part."""
    first: Size = 0
    for part in joined.inputs:
        last = first + part.shape[axis]
        if (first, last) == (start, stop):
            return part
        if _inside(first, last, start, stop):
            return one(ops.slice(part, axis=axis, start=start - first, stop=stop - first))
        first = last
    return None


def _inside(first: Size, last: Size, start: Size, stop: Size) -> bool:
    """Do start and stop lie between first and last, as far as numbers tell?"""
    gaps = (start - first, stop - start, last - stop)
    return all(isinstance(gap, int) and gap >= 0 for gap in gaps)


@MOVES.on("concat")
def rejoined(node: Tensor) -> Tensor | None:
    """A join of one thing, of nothing but neighbouring slices of one thing, or of joins."""
    parts = node.inputs
    if len(parts) == 1:
        return parts[0]
    axis = axis_of(node, node.attr("axis"))
    if any(t.op.name == "concat" and axis_of(t, t.attr("axis")) == axis for t in parts):
        flat = [
            t
            for part in parts
            for t in (
                part.inputs
                if part.op.name == "concat" and axis_of(part, part.attr("axis")) == axis
                else (part,)
            )
        ]
        return one(ops.concat(*flat, axis=axis))
    if any(t.op.name != "slice" or t.attr("step") != 1 for t in parts):
        return None
    whole = parts[0].inputs[0]
    at: Size = parts[0].attr("start")
    first = at
    for part in parts:
        if part.inputs[0] is not whole or axis_of(part, part.attr("axis")) != axis:
            return None
        if part.attr("start") != at:
            return None
        at = part.attr("stop")
    return one(ops.slice(whole, axis=axis, start=first, stop=at))


@MOVES.on("pad")
def needless_pad(node: Tensor) -> Tensor | None:
    """A pad by nothing."""
    return node.inputs[0] if node.attr("before") == 0 == node.attr("after") else None


@MOVES.on("flip")
def flipped_twice(node: Tensor) -> Tensor | None:
    """A flip of a flip along the same axis, and of an axis of size 1."""
    (x,) = node.inputs
    axis = axis_of(x, node.attr("axis"))
    if x.shape[axis] == 1:
        return x
    if x.op.name == "flip" and axis_of(x, x.attr("axis")) == axis:
        return x.inputs[0]
    return None


@MOVES.on("sum", "mean", "max", "min")
def reduced_over_one(node: Tensor) -> Tensor | None:
    """A reduction over axes of size 1 only drops them."""
    (x,) = node.inputs
    if all(x.shape[a] == 1 for a in node.attr("axes")):
        return one(ops.reshape(x, shape=node.shape))
    return None


FOLD = NUMBERS + NEUTRAL + MOVES


def _number(x: Tensor) -> float | None:
    """The one number that a constant repeats, or None."""
    if x.op.name not in ("const", "full"):
        return None
    value = x.attr("value")
    return None if isinstance(value, tuple) else value


def _fixed(shape: tuple[Size, ...]) -> tuple[int, ...] | None:
    sizes = tuple(size for size in shape if isinstance(size, int))
    return sizes if len(sizes) == len(shape) else None


def _is_symbolic(node: Tensor) -> bool:
    """Does an attribute (a slice's bound, a shape) hold a symbolic size?"""
    for _, value in node.attrs:
        if any(isinstance(v, Dim) for v in (value if isinstance(value, tuple) else (value,))):
            return True
    return False
