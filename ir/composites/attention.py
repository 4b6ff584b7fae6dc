"""Attention and rotary positions."""

from __future__ import annotations

from smelt.errors import SmeltError
from smelt.ir.composites.activations import softcap as cap
from smelt.ir.composites.activations import softmax
from smelt.ir.dims import Size, exact_divide
from smelt.ir.op import composite
from smelt.ir.primitives.elementwise import cast, less, less_equal, logical_and, where
from smelt.ir.primitives.elementwise import cos as cosine
from smelt.ir.primitives.elementwise import sin as sine
from smelt.ir.primitives.leaves import arange
from smelt.ir.primitives.matrix import matmul
from smelt.ir.primitives.rules import is_rank
from smelt.ir.primitives.shape import concat, expand, permute, reshape, slice
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType


def forbidden(dtype: DType) -> float:
    """What a forbidden score becomes: finite, so a row that may see nothing stays free of NaN."""
    return -6.0e4 if dtype is DType.F16 else -3.0e38


@composite
def rope_table(
    positions: Tensor, frequencies: Tensor, *, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """cos and sin [..., pairs] f32 of positions [...] i64 · frequencies [pairs], times scale."""
    shape = (*positions.shape, 1)
    angles = reshape(cast(positions, DType.F32), shape=shape) * frequencies
    return cosine(angles) * scale, sine(angles) * scale


@composite(flops=lambda out, x, *_, **__: 3 * x.type.size)
def rope(x: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool = False) -> Tensor:
    """Rotate pairs of the first 2·pairs channels of x [batch, heads, seq, dim]; the rest pass
    through.

    cos, sin [batch|1, seq, pairs]. A pair is channels (i, i + pairs), or (2i, 2i + 1) when
    interleaved. Source: Su et al. 2021 (RoFormer).
    """
    pairs, dim = cos.shape[-1], x.shape[-1]
    batch, heads, seq = x.shape[:3]
    c = cast(reshape(cos, shape=(cos.shape[0], 1, *cos.shape[1:])), x.dtype)
    s = cast(reshape(sin, shape=(sin.shape[0], 1, *sin.shape[1:])), x.dtype)
    turned = slice(x, axis=3, start=0, stop=2 * pairs)
    if interleaved:
        split = reshape(turned, shape=(batch, heads, seq, pairs, 2))
        a, b = (
            reshape(slice(split, axis=4, start=i, stop=i + 1), shape=(batch, heads, seq, pairs))
            for i in (0, 1)
        )
    else:
        a = slice(turned, axis=3, start=0, stop=pairs)
        b = slice(turned, axis=3, start=pairs, stop=2 * pairs)
    first, second = a * c - b * s, b * c + a * s
    if interleaved:
        columns = [reshape(t, shape=(batch, heads, seq, pairs, 1)) for t in (first, second)]
        y = reshape(concat(*columns, axis=4), shape=(batch, heads, seq, 2 * pairs))
    else:
        y = concat(first, second, axis=3)
    if 2 * pairs == dim:
        return y
    return concat(y, slice(x, axis=3, start=2 * pairs, stop=dim), axis=3)


@composite(
    flops=lambda out, q, k, v, *_, **__: 2 * q.type.size * k.shape[2] + 2 * out.size * k.shape[2]
)
def attention(
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
    """softmax(q·kᵀ·scale + bias)·v with grouped heads.

    q [batch, heads, seq, dim], k and v [batch, kv_heads, keys, dim]; heads is a multiple of
    kv_heads. mask [batch, ≥ keys] i64: 0 marks padding keys; its last ``keys`` columns count. bias
    broadcasts to [batch, heads, seq, keys] and is added to the scaled (and capped) scores. sinks
    [heads]: a score of its own for each head that takes part in the sum and gives nothing. causal
    and window align query and key at their ends: query i sees key j when 0 ≤ (seq - i) - (keys - j)
    (causal) and that distance < window.
    """
    for name, tensor in (("queries", q), ("keys", k), ("values", v)):
        is_rank(tensor, 4, name)
    batch, heads, seq, _ = q.shape
    kv_heads, keys = k.shape[1], k.shape[2]
    if not isinstance(heads, int) or not isinstance(kv_heads, int) or heads % kv_heads:
        raise SmeltError(f"{heads} query heads are not a multiple of {kv_heads} key heads")
    group = heads // kv_heads
    grouped = reshape(q * scale, shape=(batch, kv_heads, group, seq, q.shape[3]))
    k5 = reshape(k, shape=(batch, kv_heads, 1, keys, k.shape[3]))
    v5 = reshape(v, shape=(batch, kv_heads, 1, keys, v.shape[3]))
    scores = reshape(
        matmul(grouped, permute(k5, axes=(0, 1, 2, 4, 3))), shape=(batch, heads, seq, keys)
    )
    if softcap is not None:
        scores = cap(scores, limit=softcap)
    if bias is not None:
        scores = scores + bias
    allowed = visible_keys(seq, keys, causal, window)
    if mask is not None:
        width = mask.shape[1]
        newest = slice(mask, axis=1, start=width - keys, stop=width)
        real = cast(reshape(newest, shape=(mask.shape[0], 1, 1, keys)), DType.BOOL)
        allowed = real if allowed is None else logical_and(allowed, real)
    if allowed is not None:
        scores = where(allowed, scores, forbidden(scores.dtype))
    if sinks is not None:
        column = expand(reshape(sinks, shape=(1, heads, 1, 1)), shape=(batch, heads, seq, 1))
        weights = slice(softmax(concat(scores, column, axis=3)), axis=3, start=0, stop=keys)
    else:
        weights = softmax(scores)
    grouped_weights = reshape(weights, shape=(batch, kv_heads, group, seq, keys))
    return reshape(matmul(grouped_weights, v5), shape=(batch, heads, seq, v.shape[3]))


def visible_keys(seq: Size, keys: Size, causal: bool, window: int | None) -> Tensor | None:
    """[seq, keys] bool: which keys each query may see by position alone."""
    if not causal and window is None:
        return None
    query = reshape(arange(stop=keys, start=keys - seq), shape=(seq, 1))
    key = reshape(arange(keys), shape=(1, keys))
    distance = query - key
    allowed = less_equal(-distance, 0) if causal else None
    if window is None:
        return allowed
    near = less(distance, window)
    if allowed is not None:
        return logical_and(allowed, near)
    return logical_and(near, less(-distance, window))


@composite
def relative_shift(x: Tensor, *, keys: Size, step: int = 1) -> Tensor:
    """Scores by distance as scores by key: y[…, i, j] = x[…, i, j + step·(seq - i)].

    x [batch, heads, seq, step·seq + keys] → [batch, heads, seq, keys]. Rows move by reading the
    same elements at another width. Source: Dai et al. 2019 (Transformer-XL), appendix B.
    """
    batch, heads, seq, width = x.shape
    turned = reshape(x, shape=(batch, heads, width, seq))
    moved = slice(turned, axis=2, start=step, stop=width)
    shifted = reshape(moved, shape=(batch, heads, seq, width - step))
    return slice(shifted, axis=3, start=0, stop=keys)


@composite
def split_heads(x: Tensor, *, heads: int) -> Tensor:
    """[batch, seq, heads·dim] → [batch, heads, seq, dim]."""
    batch, seq, width = x.shape
    dim = exact_divide(width, heads)
    if dim is None:
        raise SmeltError(f"{width} channels do not divide into {heads} heads")
    return permute(reshape(x, shape=(batch, seq, heads, dim)), axes=(0, 2, 1, 3))


@composite
def merge_heads(x: Tensor) -> Tensor:
    """[batch, heads, seq, dim] → [batch, seq, heads·dim]."""
    batch, heads, seq, dim = x.shape
    return reshape(permute(x, axes=(0, 2, 1, 3)), shape=(batch, seq, heads * dim))
