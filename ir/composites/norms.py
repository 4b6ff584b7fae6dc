"""Normalizations over the last axis, computed in f32."""

from __future__ import annotations

from smelt.ir.op import composite
from smelt.ir.primitives.elementwise import cast, rsqrt
from smelt.ir.primitives.reduce import mean
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


@composite(flops=lambda out, x, *_, **__: 5 * x.type.size)
def rms_norm(x: Tensor, weight: Tensor | None = None, *, eps: float, offset: float = 0.0) -> Tensor:
    """Scale x to unit root-mean-square, times (weight + offset). Source: Zhang, Sennrich 2019."""
    wide = cast(x, DType.F32)
    unit = wide * rsqrt(mean(wide * wide) + eps)
    if weight is None:
        return cast(unit, x.dtype)
    if offset:
        return cast(unit * (cast(weight, DType.F32) + offset), x.dtype)
    return cast(unit, x.dtype) * weight


@composite(flops=lambda out, x, *_, **__: 8 * x.type.size)
def layer_norm(
    x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *, eps: float
) -> Tensor:
    """Shift and scale x to mean 0 and variance 1, then weight and bias. Source: Ba et al. 2016."""
    wide = cast(x, DType.F32)
    centred = wide - mean(wide)
    y = cast(centred * rsqrt(mean(centred * centred) + eps), x.dtype)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


@composite(flops=lambda out, x, *_, **__: 6 * x.type.size)
def add_rms_norm(
    x: Tensor, y: Tensor, weight: Tensor | None = None, *, eps: float, offset: float = 0.0
) -> tuple[Tensor, Tensor]:
    """x + y, and the ``rms_norm`` of that sum: one pass over memory where a backend has it."""
    both = x + y
    return both, rms_norm(both, weight, eps=eps, offset=offset)


@composite(flops=lambda out, x, *_, **__: 9 * x.type.size)
def add_layer_norm(
    x: Tensor, y: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *, eps: float
) -> tuple[Tensor, Tensor]:
    """x + y, and the ``layer_norm`` of that sum: one pass over memory where a backend has it."""
    both = x + y
    return both, layer_norm(both, weight, bias, eps=eps)
