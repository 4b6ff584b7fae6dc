"""Quantized weights and activations: what the integers mean."""

from __future__ import annotations

from smelt.errors import SmeltError
from smelt.ir.op import composite
from smelt.ir.primitives.elementwise import abs as magnitude
from smelt.ir.primitives.elementwise import cast, equal, where
from smelt.ir.primitives.elementwise import round as nearest
from smelt.ir.primitives.matrix import matmul
from smelt.ir.primitives.reduce import max as largest
from smelt.ir.primitives.reduce import sum as total
from smelt.ir.primitives.shape import pad, permute, reshape, slice
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


@composite
def dequantize(codes: Tensor, scales: Tensor, zeros: Tensor, *, group: int, size: int) -> Tensor:
    """f32 weights [..., out, size]: scale · (code - zero) for each group of input columns.

    codes [..., out, groups·group], scales and zeros [..., out, groups]. Columns past ``size`` are padding.
    """
    lead, width = codes.shape[:-1], codes.shape[-1]
    groups = scales.shape[-1]
    if width != groups * group:
        raise SmeltError(f"{width} columns are not {groups} groups of {group}")
    each = (*lead, groups, 1)
    offsets = cast(reshape(codes, shape=(*lead, groups, group)), DType.F32) - cast(
        reshape(zeros, shape=each), DType.F32
    )
    values = reshape(
        offsets * cast(reshape(scales, shape=each), DType.F32), shape=(*lead, width)
    )
    return values if size == width else slice(values, axis=-1, start=0, stop=size)


@composite
def quantize_activation(x: Tensor, *, group: int) -> tuple[Tensor, Tensor]:
    """Codes i8 [..., groups, group] and scales f32 [..., groups, 1] of x [..., size], zero-padded.

    scale = max|x| / 127 in each group; code = round half to even of x · (127 / max|x|).
    """
    size = x.shape[-1]
    if not isinstance(size, int):
        raise SmeltError(f"last size {size} must be known")
    extra = -size % group
    padded = pad(x, axis=-1, before=0, after=extra) if extra else x
    groups = (size + extra) // group
    blocks = cast(reshape(padded, shape=(*x.shape[:-1], groups, group)), DType.F32)
    peak = largest(magnitude(blocks))
    empty = equal(peak, 0.0)
    factor = where(empty, peak, 127.0 / where(empty, peak + 1.0, peak))
    return cast(nearest(blocks * factor), DType.I8), peak / 127.0


@composite(flops=lambda out, x, *_, **__: 2 * out.size * x.shape[-1])
def quantized_linear(
    x: Tensor,
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor,
    bias: Tensor | None = None,
    *,
    group: int,
) -> Tensor:
    """``linear`` with a quantized weight and activations quantized at run time to i8 in the same groups.

    Group dot products are exact integers (they stay below 2²⁴, so f32 holds them); each is scaled by
    both scales and summed over the groups in f32.
    """
    lead = x.shape[:-1]
    out, groups = scales.shape
    quantized, steps = quantize_activation(x, group=group)
    rows = 1
    for size in lead:
        rows = rows * size
    # [groups, rows, group] times [groups, group, out]
    left = permute(reshape(cast(quantized, DType.F32), shape=(rows, groups, group)), axes=(1, 0, 2))
    offsets = cast(reshape(codes, shape=(out, groups, group)), DType.F32) - cast(
        reshape(zeros, shape=(out, groups, 1)), DType.F32
    )
    dots = matmul(left, permute(offsets, axes=(1, 2, 0)))
    left_scale = permute(reshape(steps, shape=(rows, groups, 1)), axes=(1, 0, 2))
    right_scale = reshape(permute(cast(scales, DType.F32), axes=(1, 0)), shape=(groups, 1, out))
    y = total(dots * left_scale * right_scale, axes=(0,), keepdims=False)
    y = cast(reshape(y, shape=(*lead, out)), x.dtype)
    return y if bias is None else y + bias
