"""Weights stored as bf16, and products with inputs rounded to bf16: what they mean."""

from __future__ import annotations

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


@composite
def bf16_gather(weight: Tensor, indices: Tensor) -> Tensor:
    """f32 rows [*indices, size] of a table stored as bf16."""
    return cast(gather(weight, indices, axis=0), DType.F32)
