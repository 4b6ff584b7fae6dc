"""Normalizations with their parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smelt.frontend.layers.registry import layer
from smelt.ir import ops
from smelt.ir.tensor import Tensor

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator


@layer
def rms_norm(
    e: Evaluator, x: Tensor, *, eps: float, offset: float = 0.0, weight: bool = True
) -> Tensor:
    """Scale to unit root-mean-square over the last axis, times ``weight`` + offset."""
    scale = e.scope.param("weight", (x.shape[-1],)) if weight else None
    return ops.rms_norm(x, scale, eps=float(eps), offset=float(offset))  # type: ignore[no-any-return]


@layer
def layer_norm(
    e: Evaluator, x: Tensor, *, eps: float = 1e-5, weight: bool = True, bias: bool = True
) -> Tensor:
    """Normalize the last axis to mean 0 and variance 1, then ``weight`` and ``bias``."""
    scale = e.scope.param("weight", (x.shape[-1],)) if weight else None
    shift = e.scope.param("bias", (x.shape[-1],)) if bias else None
    return ops.layer_norm(x, scale, shift, eps=float(eps))  # type: ignore[no-any-return]


@layer
def batch_norm(e: Evaluator, x: Tensor, *, eps: float = 1e-5, axis: int = -1) -> Tensor:
    """Shift and scale each channel (an axis of x) by what training saw of it: ``running_mean`` and
    ``running_var``, then ``weight`` and ``bias``.
    """
    count = x.shape[axis]
    names = ("running_mean", "running_var", "weight", "bias")
    middle, spread, weight, bias = (e.scope.param(name, (count,)) for name in names)
    factor = weight * ops.rsqrt(spread + float(eps))
    shape = (count, *(1 for _ in range(x.type.rank - 1 - axis % x.type.rank)))
    offset = ops.reshape(bias - middle * factor, shape=shape)
    return x * ops.reshape(factor, shape=shape) + offset  # type: ignore[no-any-return]
