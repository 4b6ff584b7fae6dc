"""Activation functions."""

from __future__ import annotations

from math import pi

from smelt.errors import SmeltError
from smelt.ir.dims import exact_divide
from smelt.ir.op import OPS, composite
from smelt.ir.primitives.elementwise import abs as magnitude
from smelt.ir.primitives.elementwise import cast, erf, exp, log, maximum, minimum, sigmoid, tanh
from smelt.ir.primitives.matrix import linear
from smelt.ir.primitives.reduce import max as largest
from smelt.ir.primitives.reduce import sum as total
from smelt.ir.primitives.shape import slice
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


@composite
def softmax(x: Tensor) -> Tensor:
    """exp(x) over its sum, along the last axis, computed in f32."""
    wide = cast(x, DType.F32)
    grown = exp(wide - largest(wide))
    return cast(grown / total(grown), x.dtype)


@composite
def relu(x: Tensor) -> Tensor:
    """max(x, 0)."""
    return maximum(x, 0.0)


@composite
def silu(x: Tensor) -> Tensor:
    """x · sigmoid(x)."""
    return x * sigmoid(x)


@composite
def gelu(x: Tensor) -> Tensor:
    """x · Φ(x), with the error function. Source: Hendrycks and Gimpel 2016."""
    return x * 0.5 * (erf(x * 0.5**0.5) + 1.0)


@composite
def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of gelu. Source: Hendrycks and Gimpel 2016."""
    return x * 0.5 * (tanh((x + x * x * x * 0.044715) * (2.0 / pi) ** 0.5) + 1.0)


@composite
def gelu_sigmoid(x: Tensor) -> Tensor:
    """x · sigmoid(1.702 x), the sigmoid approximation of gelu ("quick" gelu)."""
    return x * sigmoid(x * 1.702)


@composite
def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), computed without overflow."""
    return maximum(x, 0.0) + log(exp(-magnitude(x)) + 1.0)


@composite
def softcap(x: Tensor, *, limit: float) -> Tensor:
    """limit · tanh(x / limit): squeezes x into (-limit, limit)."""
    return tanh(x / limit) * limit


@composite
def clamp(x: Tensor, *, low: float, high: float) -> Tensor:
    """x limited to [low, high]."""
    return minimum(maximum(x, low), high)


#: Activations that ``gated`` and ``linear_activation`` may name.
ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "gelu_sigmoid", "relu", "sigmoid", "tanh")


def activate(x: Tensor, act: str) -> Tensor:
    """The activation of that name applied to x."""
    if act not in ACTIVATIONS:
        raise SmeltError(f"activation is {act!r}, wants one of {', '.join(ACTIVATIONS)}")
    result = OPS[act](x)
    assert isinstance(result, Tensor)
    return result


@composite
def gated(x: Tensor, *, act: str) -> Tensor:
    """act(gate) · up of x [..., 2·width], whose halves are gate and up: a gated MLP's middle."""
    width = exact_divide(x.shape[-1], 2)
    if width is None:
        raise SmeltError(f"{x.shape[-1]} channels do not divide into gate and up")
    gate = slice(x, axis=-1, start=0, stop=width)
    return activate(gate, act) * slice(x, axis=-1, start=width, stop=2 * width)


@composite(flops=lambda out, x, *_, **__: 2 * out.size * x.shape[-1])
def linear_activation(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, act: str) -> Tensor:
    """act of ``linear``: one kernel where a backend has it."""
    return activate(linear(x, weight, bias), act)
