"""Quantized weights and activations: what the integers mean."""

from __future__ import annotations

from math import prod

from smelt.errors import SmeltError
from smelt.ir.dims import Size
from smelt.ir.op import composite
from smelt.ir.primitives.elementwise import abs as magnitude
from smelt.ir.primitives.elementwise import cast, equal, where
from smelt.ir.primitives.elementwise import round as nearest
from smelt.ir.primitives.matrix import matmul
from smelt.ir.primitives.reduce import max as largest
from smelt.ir.primitives.reduce import sum as total
from smelt.ir.primitives.shape import expand, gather, pad, permute, reshape, slice
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


@composite
def dequantize(codes: Tensor, scales: Tensor, zeros: Tensor, *, group: int, size: int) -> Tensor:
    """f32 weights [..., out, size]: scale · (code - zero) for each group of input columns.

    codes [..., out, groups·group], scales [..., out, groups], zeros the same, or one number for all
    (a symmetric scheme's, a constant). Columns past ``size`` are padding.
    """
    lead, width = codes.shape[:-1], codes.shape[-1]
    groups = scales.shape[-1]
    if width != groups * group:
        raise SmeltError(f"{width} columns are not {groups} groups of {group}")
    blocks = _offsets(codes, zeros, (*lead, groups, group))
    steps = cast(reshape(scales, shape=(*lead, groups, 1)), DType.F32)
    values = reshape(blocks * steps, shape=(*lead, width))
    return values if size == width else slice(values, axis=-1, start=0, stop=size)


def _offsets(codes: Tensor, zeros: Tensor, shape: tuple[Size, ...]) -> Tensor:
    """code - zero in f32, with the groups as their own axis: shape is [..., groups, group]."""
    below = zeros if zeros.type.rank == 0 else reshape(zeros, shape=(*shape[:-1], 1))
    return cast(reshape(codes, shape=shape), DType.F32) - cast(below, DType.F32)


@composite
def quantized_gather(
    codes: Tensor, scales: Tensor, zeros: Tensor, indices: Tensor, *, group: int, size: int
) -> Tensor:
    """f32 rows [*indices, size] of a quantized table [rows, ...], as ``gather`` along axis 0 would
    give.
    """
    below = zeros if zeros.type.rank == 0 else gather(zeros, indices, axis=0)
    rows = gather(codes, indices, axis=0), gather(scales, indices, axis=0)
    return dequantize(*rows, below, group=group, size=size)


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


def _terms(x: Tensor, group: int, terms: int) -> list[tuple[Tensor, Tensor]]:
    """Codes and scales of x, then of what they leave over: x - scale · code, zero-padded."""
    found = [quantize_activation(x, group=group)]
    while len(found) < terms:
        codes, steps = found[-1]
        padded = prod(codes.shape[-2:])
        wide = cast(x, DType.F32)
        if padded != x.shape[-1]:
            wide = pad(wide, axis=-1, before=0, after=padded - x.shape[-1])
        restored = reshape(cast(codes, DType.F32) * steps, shape=wide.shape)
        x = wide - restored
        found.append(quantize_activation(x, group=group))
    return found


@composite(flops=lambda out, x, *_, **__: 2 * out.size * x.shape[-1])
def quantized_linear(
    x: Tensor,
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor,
    bias: Tensor | None = None,
    *,
    group: int,
    terms: int = 1,
) -> Tensor:
    """``linear`` with a quantized weight and activations quantized at run time to i8 in the same
    groups; with two terms also what that leaves over, so that about 15 bits of x count.

    Group dot products are exact integers (they stay below 2²⁴, so f32 holds them); each is scaled
    by both scales and summed over the groups in f32, a term at a time.
    """
    lead = x.shape[:-1]
    out, groups = scales.shape
    rows = prod(lead)
    offsets = permute(_offsets(codes, zeros, (out, groups, group)), axes=(1, 2, 0))
    right_scale = reshape(permute(cast(scales, DType.F32), axes=(1, 0)), shape=(groups, 1, out))
    y: Tensor | None = None
    for quantized, steps in _terms(x, group, terms):
        # [groups, rows, group] times [groups, group, out]
        flat = reshape(cast(quantized, DType.F32), shape=(rows, groups, group))
        dots = matmul(permute(flat, axes=(1, 0, 2)), offsets)
        left_scale = permute(reshape(steps, shape=(rows, groups, 1)), axes=(1, 0, 2))
        part = total(dots * left_scale * right_scale, axes=(0,), keepdims=False)
        y = part if y is None else y + part
    assert y is not None
    y = cast(reshape(y, shape=(*lead, out)), x.dtype)
    return y if bias is None else y + bias


@composite(flops=lambda out, x, *_, **__: 2 * out.size * x.shape[-1])
def quantized_grouped_linear(
    x: Tensor,
    codes: Tensor,
    scales: Tensor,
    zeros: Tensor,
    indices: Tensor,
    bias: Tensor | None = None,
    *,
    group: int,
    terms: int = 1,
) -> Tensor:
    """``quantized_linear`` with one of many weights for each row: ``grouped_linear`` on codes.

    x [..., in]; codes [experts, out, in]; scales, zeros [experts, out, groups]; indices [...] i64;
    bias [experts, out].
    """
    lead = indices.shape
    _, out, groups = scales.shape
    rows = prod(lead)
    ones = (*lead, groups)
    chosen = reshape(indices, shape=(rows,))
    below = zeros if zeros.type.rank == 0 else gather(zeros, chosen, axis=0)
    offsets = _offsets(gather(codes, chosen, axis=0), below, (rows, out, groups, group))
    right = permute(offsets, axes=(0, 2, 3, 1))
    right_scale = permute(cast(gather(scales, chosen, axis=0), DType.F32), axes=(0, 2, 1))
    y: Tensor | None = None
    for quantized, steps in _terms(x, group, terms):
        # [rows, groups, 1, group] times [rows, groups, group, out]
        wide = expand(cast(quantized, DType.F32), shape=(*ones, group))
        dots = matmul(reshape(wide, shape=(rows, groups, 1, group)), right)
        left_scale = reshape(expand(steps, shape=(*ones, 1)), shape=(rows, groups, 1))
        scaled = reshape(dots, shape=(rows, groups, out)) * left_scale * right_scale
        part = total(scaled, axes=(1,), keepdims=False)
        y = part if y is None else y + part
    assert y is not None
    y = cast(reshape(y, shape=(*lead, out)), x.dtype)
    return y if bias is None else y + gather(bias, indices, axis=0)


@composite
def round_to_int8(x: Tensor) -> Tensor:
    """x as an int8 cache gives it back: each row of the last axis has one scale, max|x| / 127.

    ``plan_kv`` puts it before a cache whose slot is stored as int8. A runtime that stores codes and
    scales leaves it out, since storing does the same.
    """
    size = x.shape[-1]
    codes, steps = quantize_activation(x, group=size)
    values = reshape(cast(codes, DType.F32) * steps, shape=x.shape)
    return cast(values, x.dtype)
