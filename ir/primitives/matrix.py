"""Matrix products, convolutions and scans: where the arithmetic is."""

from __future__ import annotations

from math import prod

from smelt.errors import SmeltError
from smelt.ir.dims import Size
from smelt.ir.op import primitive
from smelt.ir.primitives.rules import broadcast, is_float, is_rank, same, same_dtype, typed
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType, Type


@primitive(flops=lambda out, a, b: 2 * prod(out.shape) * a.shape[-1])
def matmul(a: Tensor, b: Tensor) -> Type:
    """Matrix product over the last two axes; leading axes broadcast."""
    same(a.shape[-1], b.shape[-2], "inner sizes")
    lead = broadcast(a.shape[:-2], b.shape[:-2]) if a.type.rank + b.type.rank > 4 else ()
    return Type((*lead, a.shape[-2], b.shape[-1]), same_dtype(a, b))


@primitive(flops=lambda out, x, w, b: 2 * prod(out.shape) * x.shape[-1])
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Type:
    """x times weight [out, in] transposed, plus bias [out], over the last axis."""
    is_rank(weight, 2, "weight")
    if x.shape[-1] != weight.shape[1]:
        raise SmeltError(
            f"input has {x.shape[-1]} channels, weight {weight.type} wants {weight.shape[1]}"
        )
    if bias is not None:
        same(bias.shape[0], weight.shape[0], "bias and output channels")
    return Type((*x.shape[:-1], weight.shape[0]), same_dtype(x, weight, bias))


@primitive(flops=lambda out, x, w, i, b: 2 * prod(out.shape) * x.shape[-1])
def grouped_linear(x: Tensor, weight: Tensor, indices: Tensor, bias: Tensor | None = None) -> Type:
    """``linear`` with one of many weights for each row: x [..., in], weight [experts, out, in],
    indices [...] i64, bias [experts, out]. Only the experts chosen are touched."""
    is_rank(weight, 3, "weight")
    same(x.shape[-1], weight.shape[2], "input channels")
    if broadcast(x.shape[:-1], indices.shape) != indices.shape:
        raise SmeltError(f"indices {indices.type} do not cover rows of {x.type}")
    return Type((*indices.shape, weight.shape[1]), same_dtype(x, weight, bias))


@primitive(flops=lambda out, x, w, b, **_: 2 * prod(out.shape) * prod(w.shape[1:]))
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Type:
    """Cross-correlation of x [batch, in, *space] with weight [out, in/groups, *kernel].

    ``padding`` is (before, after) of each space axis in turn, with zeros.
    """
    spatial = x.type.rank - 2
    is_rank(weight, spatial + 2, "weight")
    same(x.shape[1], weight.shape[1] * groups, "input channels")
    sizes: list[Size] = []
    for i in range(spatial):
        kernel = weight.shape[2 + i]
        reach = dilation[i] * (kernel - 1)
        total = x.shape[2 + i] + padding[2 * i] + padding[2 * i + 1] - reach - 1
        sizes.append(total // stride[i] + 1)
    return Type((x.shape[0], weight.shape[0], *sizes), same_dtype(x, weight, bias))


@primitive(flops=lambda out, x, *rest: 9 * prod(x.shape) * rest[1].shape[-1])
def selective_scan(
    x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, state: Tensor
) -> tuple[Type, Type]:
    """Mamba's recurrence: h ← exp(delta·a)·h + delta·b·x, y = c·h, along axis 1.

    x, delta [batch, seq, inner]; a [inner, n]; b, c [batch, seq, n]; state [batch, inner, n].
    Gives y [batch, seq, inner] and the last state. Source: Gu and Dao 2023, algorithm 2.
    """
    is_float(x)
    same_dtype(x, delta, a, b, c, state)
    same(a.shape[0], x.shape[2], "inner channels")
    same(b.shape[2], a.shape[1], "state size")
    return typed(x, x.shape), state.type


@primitive
def quantize_weight(w: Tensor, bits: int, group: int, symmetric: bool) -> tuple[Type, Type, Type]:
    """Codes [.., out, in] (u8; i8 for symmetric 8 bits), scales f16 and zeros [.., out, in/group].

    w ≈ scale · (code - zero). ``in`` must be a multiple of the group. Evaluated at compile time
    only.
    """
    size = w.shape[-1]
    if not isinstance(size, int) or size % group:
        raise SmeltError(f"group {group} does not divide {size} input channels of {w.type}")
    codes = DType.I8 if bits == 8 and symmetric else DType.U8
    groups = (*w.shape[:-1], size // group)
    return Type(w.shape, codes), Type(groups, DType.F16), Type(groups, codes)
