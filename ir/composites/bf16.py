"""Weights stored as bf16, and products of what is rounded to bf16: what they mean."""

from __future__ import annotations

from smelt.ir.composites.attention import attention
from smelt.ir.op import composite
from smelt.ir.primitives.elementwise import cast
from smelt.ir.primitives.matrix import grouped_linear, linear
from smelt.ir.primitives.shape import gather
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


def _rounded(x: Tensor) -> Tensor:
    return cast(cast(x, DType.BF16), DType.F32)


@composite(flops=lambda out, x, *_: 2 * out.size * x.shape[-1])
def bf16_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``linear`` with a bf16 weight and x rounded to bf16, to nearest even.

    A product of two bf16 fits f32 exactly; sums are f32.
    """
    y = cast(linear(_rounded(x), cast(weight, DType.F32)), x.dtype)
    return y if bias is None else y + bias


@composite(flops=lambda out, x, *_: 2 * out.size * x.shape[-1])
def bf16_grouped_linear(
    x: Tensor, weight: Tensor, indices: Tensor, bias: Tensor | None = None
) -> Tensor:
    """``grouped_linear`` with bf16 weights [experts, out, in] and x rounded to bf16."""
    y = cast(grouped_linear(_rounded(x), cast(weight, DType.F32), indices), x.dtype)
    return y if bias is None else y + gather(bias, indices, axis=0)


@composite(
    flops=lambda out, q, k, v, *_, **__: 2 * q.type.size * k.shape[2] + 2 * out.size * k.shape[2]
)
def bf16_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    sinks: Tensor | None = None,
    *,
    scale: float,
    causal: bool = False,
    window: int | None = None,
    softcap: float | None = None,
) -> Tensor:
    """``attention`` of q·scale, k and v rounded to bf16, to nearest even.

    The probabilities, exp(score - maximum), may be rounded too, by whoever multiplies them as bf16,
    and are then divided by their rounded sum: a result moves by less than 2^-9 of the values'
    spread.
    """
    return attention(
        _rounded(q * scale),
        _rounded(k),
        _rounded(v),
        mask,
        bias,
        sinks,
        scale=1.0,
        causal=causal,
        window=window,
        softcap=softcap,
    )


@composite
def bf16_gather(weight: Tensor, indices: Tensor) -> Tensor:
    """f32 rows [*indices, size] of a table stored as bf16."""
    return cast(gather(weight, indices, axis=0), DType.F32)
