"""State between calls: caches that grow, and values that are replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smelt.errors import SpecError
from smelt.frontend.layers.registry import layer
from smelt.ir.dims import Size
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator


@layer
def cache(e: Evaluator, x: Tensor, name: str, window: int | None = None, axis: int = 2) -> Tensor:
    """Append x to the cache ``name`` here and give all of it, oldest first.

    In a task that sees a whole text at once that is x itself.
    """
    if window is not None and (not isinstance(window, int) or window < 1):
        raise SpecError(f"window is {window!r}, wants a positive number of tokens or None")
    return e.scope.append(name, x, axis, window) if e.scope.continues else x


@layer
def remember(e: Evaluator, x: Tensor, name: str) -> Tensor:
    """Replace the state ``name`` here by x, for the next call or another function; gives x."""
    return e.scope.write(name, x)


@layer
def recall(e: Evaluator, name: str, shape: tuple[Size, ...] | None = None) -> Tensor:
    """The state ``name`` here as the call began: zeros at first when its shape is given, else what an
    earlier function of the task remembered."""
    return e.scope.read(name, shape, e.scope.dtype)
