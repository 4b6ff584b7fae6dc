"""Repetition, choices, constants, and mixtures of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from smelt.errors import SpecError
from smelt.frontend.layers.registry import layer
from smelt.ir import ops
from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator

MAX_REPEAT = 1024

_DTYPES = {
    "float": DType.F32,
    "bfloat16": DType.BF16,
    "int": DType.I64,
    "bool": DType.BOOL,
}


@layer
def repeat(
    e: Evaluator,
    count: int,
    block: Any,
    *state: Any,
    start: int = 0,
    under: str = "",
    numbered: bool = True,
    **fixed: Any,
) -> Any:
    """Apply a block ``count`` times, each under its number as weight path (and then ``under``);
    not ``numbered``, all under one path, with the same weights.

    The block's result replaces the leading ``state`` arguments of the next call: one value, or a
    tuple of as many as it gives. A parameter named ``i`` gets the index. ``start`` shifts the
    numbers.
    """
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_REPEAT:
        raise SpecError(f"repeat count is {count!r}, wants 0 to {MAX_REPEAT}")
    wants_index = "i" in getattr(block, "parameters", ())
    carried = 1
    is_outer = e.scope.nesting == 0
    for i in range(start, start + count):
        number = str(i) if numbered else ""
        if is_outer:
            e.scope.blocks.append(state[0] if state else None)
        with (
            e.scope.at(f"{number}.{under}" if number and under else number or under),
            e.scope.nested(),
        ):
            result = e.call(block, state, {**fixed, "i": i} if wants_index else fixed)
        parts = result if isinstance(result, tuple) else (result,)
        carried = len(parts)
        if carried > len(state):
            raise SpecError(f"block gives {carried} values and takes {len(state)}")
        state = (*parts, *state[carried:])
        if is_outer:
            e.scope.last_block = state[0]
    return state[0] if carried == 1 else state[:carried]


@layer
def default(e: Evaluator, value: Any, otherwise: Any) -> Any:
    """The value, or ``otherwise`` for a missing key (``or`` would replace 0 and False too)."""
    return otherwise if value is None else value


@layer
def given(e: Evaluator, name: str, otherwise: Any = None) -> Any:
    """The task's input of that name, or ``otherwise`` in a task without it."""
    tensor = e.scope.input(name)
    return otherwise if tensor is None else tensor


@layer
def has(
    e: Evaluator, name: str, unknown: bool = False, shape: tuple[int, ...] | None = None
) -> bool:
    """Whether the checkpoint has the parameter ``name`` here (and of that shape); ``unknown`` when
    there is no checkpoint.
    """
    found = e.scope.has(name, shape)
    return unknown if found is None else found


@layer
def choose(e: Evaluator, value: Any, *cases: tuple[Any, Any], otherwise: Any) -> Any:
    """The second part of the case whose first part is the value, or ``otherwise``."""
    return next((result for wanted, result in cases if wanted == value), otherwise)


@layer
def text(e: Evaluator, value: int) -> str:
    """A whole number as text, for a name that another part of the path decides."""
    if not isinstance(value, int):
        raise SpecError(f"cannot name anything {value!r}, wants a whole number")
    return str(value)


@layer
def letters(e: Evaluator, value: str) -> tuple[str, ...]:
    """The letters of a text, as a tuple: configs may write a kind of layer as one letter."""
    if not isinstance(value, str) or len(value) > MAX_REPEAT:
        raise SpecError(f"cannot take letters of {type(value).__name__}, wants a short text")
    return tuple(value)


@layer
def pair(e: Evaluator, value: Any) -> tuple[Any, ...]:
    """A number twice; two numbers as they are."""
    return value if isinstance(value, tuple) else (value, value)


@layer
def cast(e: Evaluator, x: Tensor, to: str) -> Tensor:
    """x as ``"float"`` (f32), ``"bfloat16"``, ``"int"`` (i64), ``"bool"`` or ``"model"`` (the
    model's dtype).
    """
    if to != "model" and to not in _DTYPES:
        raise SpecError(f"dtype {to!r} is not one of {', '.join((*_DTYPES, 'model'))}")
    dtype = e.scope.dtype if to == "model" else _DTYPES[to]
    return x if x.dtype is dtype else ops.cast(x, dtype=dtype)


@layer
def constant(e: Evaluator, values: tuple[float, ...], dtype: str = "float") -> Tensor:
    """A vector of numbers known at compile time."""
    kind = _DTYPES[dtype]
    return ops.const(value=tuple(values), dtype=kind, shape=(len(values),))  # type: ignore[no-any-return]


@layer
def filled(e: Evaluator, value: float, shape: tuple[Size, ...], dtype: str = "float") -> Tensor:
    """A tensor of one repeated value; sizes may be symbolic."""
    return ops.full(shape=shape, value=value, dtype=_DTYPES[dtype])  # type: ignore[no-any-return]


@layer
def experts(
    e: Evaluator, x: Tensor, weights: Tensor, chosen: Tensor, expert: Any, *, count: int
) -> Tensor:
    """The weighted sum of the chosen experts of each row.

    x [..., dim]; weights and chosen (i64) [..., k]; ``expert`` is a function of rows whose
    ``linear`` layers have one weight for each of ``count`` experts, under the paths ``0``, ``1``,
    …. Only the chosen experts are computed.
    """
    if e.scope.experts is not None:
        raise SpecError("experts inside an expert")
    rows = ops.reshape(x, shape=(*x.shape[:-1], 1, x.shape[-1]))
    e.scope.experts = (chosen, count)
    try:
        with e.scope.at("*"):
            y = e.call(expert, (rows,), {})
    finally:
        e.scope.experts = None
    scaled = y * ops.reshape(weights, shape=(*weights.shape, 1))
    return ops.sum(scaled, axes=(-2,), keepdims=False)  # type: ignore[no-any-return]
