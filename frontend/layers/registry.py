"""The table of layers: every function decorated with ``@layer`` joins it under its own name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator  # noqa: F401  (named in docstrings)

#: Layers by the name that specs call them by. The first argument is always the ``Evaluator``.
LAYERS: dict[str, Callable[..., Any]] = {}


def layer(function: Callable[..., Any]) -> Callable[..., Any]:
    """Offer a function to specs; a trailing underscore is not part of its name."""
    LAYERS[function.__name__.rstrip("_")] = function
    return function


for family in ("control", "shape", "linear", "norm", "position", "state", "activation", "part"):
    import_module(f"smelt.frontend.layers.{family}")
