"""Positions: learned tables and rotations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from smelt.errors import SpecError
from smelt.frontend.config import Config
from smelt.frontend.layers.registry import layer
from smelt.frontend.rope_scaling import rotation
from smelt.ir import ops
from smelt.ir.dims import Size, symbol
from smelt.ir.tensor import Tensor
from smelt.ir.types import DType

if TYPE_CHECKING:
    from smelt.frontend.spec.evaluate import Evaluator

MAX_DISTANCE = 65_536


@layer
def position_ids(e: Evaluator, count: Size, mask: Tensor | None = None) -> Tensor:
    """The positions of ``count`` new tokens, i64 [batch | 1, count]: the input, or counted where
    there is none; with ``mask`` [batch, tokens] only its real tokens count.
    """
    given = e.scope.input("position_ids")
    if given is not None:
        return given
    if mask is not None:
        known = mask.shape[1]
        places = ops.maximum(ops.cumsum(mask, axis=1) - 1, 0)
        return ops.slice(places, axis=1, start=known - count, stop=known)  # type: ignore[no-any-return]
    past = symbol("past") if e.scope.state == "continues" else 0
    return ops.reshape(ops.arange(past + count, start=past), shape=(1, count))  # type: ignore[no-any-return]


@layer
def rope(
    e: Evaluator,
    x: Tensor,
    *,
    positions: Tensor | None = None,
    parameters: Config | None = None,
    theta: float | None = None,
    base: float | None = None,
    share: float | None = None,
    width: int | None = None,
    interleaved: bool = False,
    table: tuple[Tensor, Tensor] | None = None,
    scale: float | None = None,
    steady: bool = False,
    length: int | None = None,
) -> Tensor:
    """Rotate the first ``width`` channels of x [batch, heads, seq, dim].

    ``parameters`` is config's rope_parameters (with any scaling); ``theta`` is the base and
    ``share`` the rotated part of all channels when they give none. Positions default to the task's
    own; the width to that share. ``base`` replaces the base that they give, ``scale`` the scaling's
    own factor; ``steady``: every text is turned as a short one is. ``length`` of texts in
    training: `max_position_embeddings` unless given.
    """
    if table is not None:
        return ops.rope(x, *table, interleaved=interleaved)  # type: ignore[no-any-return]
    plain: dict[str, Any] = parameters.plain() if isinstance(parameters, Config) else {}
    if theta is not None and plain.get("rope_theta") is None:
        plain = {**plain, "rope_theta": theta}
    if base is not None:
        plain = {**plain, "rope_theta": base}
    dim = x.shape[-1] if width is None else width
    if width is None and isinstance(dim, int) and plain.get("rope_type") != "proportional":
        dim = int(dim * float(plain.get("partial_rotary_factor") or share or 1.0))
    if not isinstance(dim, int) or dim % 2 or dim < 2:
        raise SpecError(f"rope over {dim} channels, wants an even number")
    positions = positions if positions is not None else position_ids(e, x.shape[2])
    length = length or e.config.get("max_position_embeddings")
    measured = ops.full(shape=(1, 1), value=0, dtype=DType.I64) if steady else positions
    turn = rotation(plain, dim=dim, length=length, positions=measured)
    loud = turn.scale if scale is None else scale
    cos, sin = ops.rope_table(positions, turn.frequencies, scale=loud)
    return ops.rope(x, cos, sin, interleaved=interleaved)  # type: ignore[no-any-return]


@layer
def sinusoids(
    e: Evaluator, positions: Tensor, *, dim: int, spread: int | None = None, theta: float = 10000.0
) -> tuple[Tensor, Tensor]:
    """sin and cos [..., dim / 2] f32 of positions · theta^(-i / spread) for channel pair i.

    Source: Vaswani et al. 2017, whose spread is dim / 2.
    """
    if not isinstance(dim, int) or not 2 <= dim <= MAX_DISTANCE or dim % 2:
        raise SpecError(f"sinusoids of {dim} channels, want an even number")
    pairs = dim // 2
    rates = tuple(theta ** (-i / (spread or pairs)) for i in range(pairs))
    cos, sin = ops.rope_table(positions, ops.const(value=rates, dtype=DType.F32, shape=(pairs,)))
    return sin, cos


@layer
def alibi_slopes(e: Evaluator, heads: int, steepest: float = 8.0) -> Tensor:
    """How fast each head forgets, f32 [heads]: 2^(-steepest · k / heads), k = 1 … heads.

    For a number of heads that is no power of two: every second slope of the next power of two, then
    the ones between. Source: Press et al. 2021 (ALiBi).
    """
    if not isinstance(heads, int) or not 0 < heads <= MAX_DISTANCE:
        raise SpecError(f"{heads} heads, want a positive number")
    count = 1 << (heads - 1).bit_length()
    slopes = [2.0 ** (-steepest * k / count) for k in range(1, count + 1)]
    if count != heads:
        slopes = (slopes[1::2] + slopes[::2])[:heads]
    return ops.const(value=tuple(slopes), dtype=DType.F32, shape=(heads,))  # type: ignore[no-any-return]


@layer
def offsets(e: Evaluator, queries: Size, keys: Size) -> Tensor:
    """Key position minus query position, i64 [queries, keys]; both end at the newest token."""
    query = ops.reshape(ops.arange(keys, start=keys - queries), shape=(queries, 1))
    return ops.reshape(ops.arange(keys), shape=(1, keys)) - query  # type: ignore[no-any-return]


@layer
def signed_log_buckets(e: Evaluator, distance: Tensor, *, count: int, furthest: int) -> Tensor:
    """The bucket of each distance, of the same sign: exact up to half of ``count``, then
    logarithmic, so that ``furthest`` - 1 falls into the last one. Source: He et al. 2021 (DeBERTa).
    """
    middle = count // 2
    if not 1 < middle < furthest <= MAX_DISTANCE:
        raise SpecError(f"{count} buckets up to distance {furthest}, at most {MAX_DISTANCE}")
    whole = np.log(np.float32((furthest - 1) / middle))
    reached = [*range(middle + 1)]
    while reached[-1] < count:
        share = np.log(np.float32(len(reached) / middle)) / whole
        reached.append(math.ceil(np.float32(share) * np.float32(middle - 1)) + middle)
    values = tuple([-v for v in reached[:0:-1]] + reached)
    known = ops.const(value=values, dtype=DType.I64, shape=(len(values),))
    edge = len(reached) - 1
    return ops.gather(known, ops.clamp(distance, low=-edge, high=edge) + edge, axis=0)  # type: ignore[no-any-return]


@layer
def log_buckets(
    e: Evaluator, distance: Tensor, *, count: int, furthest: int, both_ways: bool
) -> Tensor:
    """The bucket of each distance: exact when near, logarithmic up to ``furthest``, then all the
    same.

    Half of the ``count`` buckets are for keys ahead when ``both_ways``; else those share bucket 0.
    Source: Raffel et al. 2020 (T5). The buckets are computed here once; only a lookup is left.
    """
    if not 0 < count // (4 if both_ways else 2) < furthest <= MAX_DISTANCE:
        raise SpecError(f"{count} buckets up to distance {furthest}, at most {MAX_DISTANCE}")
    table = tuple(_bucket(d, count, furthest, both_ways) for d in range(-furthest, furthest + 1))
    known = ops.const(value=table, dtype=DType.I64, shape=(len(table),))
    near = ops.clamp(distance, low=-furthest, high=furthest) + furthest
    return ops.gather(known, near, axis=0)  # type: ignore[no-any-return]


def _bucket(distance: int, count: int, furthest: int, both_ways: bool) -> int:
    first = 0
    if both_ways:
        count //= 2
        first = count if distance > 0 else 0
        distance = abs(distance)
    distance = abs(min(distance, 0)) if not both_ways else distance
    exact = count // 2
    if distance < exact:
        return first + distance
    # Rounded to f32 after each step, as the reference computes it: a bucket's border must not move.
    ratio = np.float32(np.log(np.float32(np.float32(distance) / np.float32(exact))))
    share = np.float32(ratio / np.float32(math.log(furthest / exact)))
    return first + min(exact + int(share * np.float32(count - exact)), count - 1)
