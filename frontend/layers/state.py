"""State between calls: caches that grow, and values that are replaced.

In a task that sees everything in one call nothing is kept: a cache is what was put in, memory is
zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smelt.errors import SpecError
from smelt.frontend.layers.registry import layer
from smelt.ir import ops
from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator


@layer
def cache(e: Evaluator, x: Tensor, name: str, window: int | None = None, axis: int = 2) -> Tensor:
    """Append x to the cache ``name`` here and give all of it, oldest first."""
    if window is not None and (not isinstance(window, int) or window < 1):
        raise SpecError(f"window is {window!r}, wants a positive number of tokens or None")
    return e.scope.append(name, x, axis, window) if e.scope.state == "continues" else x


@layer
def remember(e: Evaluator, x: Tensor, name: str) -> Tensor:
    """Replace the state ``name`` here by x, for the next call or another function; gives x."""
    return x if e.scope.state == "none" else e.scope.write(name, x)


@layer
def recall(
    e: Evaluator, name: str, shape: tuple[Size, ...] | None = None, like: Tensor | None = None
) -> Tensor:
    """The state ``name`` here as the call began: zeros at first when its shape is given (of the
    model's dtype, or that of ``like``), else what an earlier function of the task remembered.
    """
    dtype = e.scope.dtype if like is None else like.dtype
    if shape is not None and e.scope.state != "continues":
        return ops.full(shape=shape, value=0.0, dtype=dtype)  # type: ignore[no-any-return]
    return e.scope.read(name, shape, dtype)


@layer
def history(e: Evaluator, x: Tensor, name: str, count: int, axis: int = 2) -> Tensor:
    """x after the newest ``count`` entries of earlier calls (zeros at first), along an axis."""
    if count == 0:
        return x
    before = recall(e, name, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    whole: Tensor = ops.concat(before, x, axis=axis)
    length = whole.shape[axis]
    remember(e, ops.slice(whole, axis=axis, start=length - count, stop=length), name)
    return whole


@layer
def scan(
    e: Evaluator, x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, *, name: str
) -> Tensor:
    """``selective_scan`` from the state ``name`` here, which then holds the last one."""
    before = recall(e, name, (x.shape[0], *a.shape), like=x)
    y, after = ops.selective_scan(x, delta, a, b, c, before)
    remember(e, after, name)
    return y  # type: ignore[no-any-return]


@layer
def accumulate(
    e: Evaluator,
    x: Tensor,
    decay: Tensor,
    *,
    name: str,
    kind: str = "sum",
    before: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """``recurrence`` from the state ``name`` here (or ``before`` in its place), which then holds
    its end: what each token found, and what it left.
    """
    if before is None:
        before = recall(e, name, (x.shape[0], *x.shape[2:]), like=x)
    left: Tensor = ops.recurrence(x, decay, before, kind=kind)
    seq = x.shape[1]
    newest = ops.slice(left, axis=1, start=seq - 1, stop=seq)
    remember(e, ops.reshape(newest, shape=before.shape), name)
    first = ops.reshape(before, shape=(x.shape[0], 1, *x.shape[2:]))
    return ops.concat(first, ops.slice(left, axis=1, start=0, stop=seq - 1), axis=1), left


@layer
def linear_attention(
    e: Evaluator,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor,
    beta: Tensor | None = None,
    *,
    name: str,
) -> Tensor:
    """``linear_attention`` from the state ``name`` here, which then holds the last one."""
    before = recall(e, name, (v.shape[0], v.shape[2], k.shape[3], v.shape[3]), like=v)
    y, after = ops.linear_attention(q, k, v, decay, beta, before)
    remember(e, after, name)
    return y  # type: ignore[no-any-return]
