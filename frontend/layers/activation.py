"""Activation functions by the names that config.json uses."""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from smelt.errors import SpecError, UnsupportedError
from smelt.frontend.layers.registry import layer
from smelt.ir import ops
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator

_BY_NAME: dict[str, Callable[[Tensor], Any]] = {
    "relu": ops.relu,
    "silu": ops.silu,
    "swish": ops.silu,
    "gelu": ops.gelu,
    "gelu_python": ops.gelu,
    "gelu_new": ops.gelu_tanh,
    "gelu_fast": ops.gelu_tanh,
    "gelu_pytorch_tanh": ops.gelu_tanh,
    "quick_gelu": ops.gelu_sigmoid,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "relu2": lambda x: ops.relu(x) * ops.relu(x),
    "linear": lambda x: x,
}


@layer
def activate(e: Evaluator, x: Tensor, name: str) -> Tensor:
    """The activation function that config.json calls ``name``."""
    if name not in _BY_NAME:
        raise UnsupportedError(
            f"activation `{name}` is not known", hint=f"known: {', '.join(sorted(_BY_NAME))}"
        )
    return _BY_NAME[name](x)  # type: ignore[no-any-return]


@layer
def sparsify(e: Evaluator, x: Tensor, share: float) -> Tensor:
    """How far x exceeds what ``share`` of a normal row would lie below, else 0."""
    if not 0.0 < share < 1.0:
        raise SpecError(f"share is {share!r}, wants a number between 0 and 1")
    middle = ops.mean(x)
    off = x - middle
    spread = ops.sqrt(ops.mean(off * off))
    return ops.relu(off - spread * NormalDist().inv_cdf(share))  # type: ignore[no-any-return]
