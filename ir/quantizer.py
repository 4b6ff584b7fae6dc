"""Weight quantization: round to nearest, with a search for the scale that loses least.

The one definition of what `quantize_weight` computes; every backend only repacks its results.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: Fractions of the full range tried as the clipping range of a group.
SHRINKS = tuple(1.0 - 0.025 * i for i in range(13))


def quantize(w: Array, bits: int, group: int, symmetric: bool) -> tuple[Array, Array, Array]:
    """Codes [..., in], scales f16 and zeros [..., in/group] of weights w [..., in].

    Of several clipping ranges each group takes the one with the least squared error. Symmetric: 4
    bits use codes 0..15 around zero 8, 8 bits use -127..127 around 0. Asymmetric: 0..2^bits-1.
    """
    blocks = w.astype(np.float32).reshape(*w.shape[:-1], -1, group)
    best_error = np.full(blocks.shape[:-1], np.inf, np.float32)
    codes = np.zeros(blocks.shape, np.int16)
    scales = np.zeros(blocks.shape[:-1], np.float16)
    zeros = np.zeros(blocks.shape[:-1], np.int16)
    for shrink in SHRINKS:
        tried = _round(blocks, bits, symmetric, np.float32(shrink))
        error = np.square(_restore(*tried) - blocks).sum(axis=-1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        codes = np.where(better[..., None], tried[0], codes)
        scales = np.where(better, tried[1], scales)
        zeros = np.where(better, tried[2], zeros)
    kind = np.int8 if bits == 8 and symmetric else np.uint8
    return codes.reshape(w.shape).astype(kind), scales, zeros.astype(kind)


def _round(
    blocks: Array, bits: int, symmetric: bool, shrink: np.float32
) -> tuple[Array, Array, Array]:
    if symmetric:
        low, high, zero = (-127, 127, 0) if bits == 8 else (0, 15, 8)
        # 4 bits reach -8 but only +7, so the value of largest magnitude is given the code 0 (and
        # the scale the sign that takes). 8 bits are the same on both sides.
        farthest = np.abs(blocks).argmax(axis=-1)[..., None]
        peak = np.take_along_axis(blocks, farthest, -1)[..., 0] * shrink
        scale = np.abs(peak) / np.float32(127) if bits == 8 else peak / np.float32(-8)
        scales = scale.astype(np.float16)
        zeros = np.full(scales.shape, zero, np.int16)
    else:
        low, high = 0, 2**bits - 1
        bottom = np.minimum(blocks.min(axis=-1), 0) * shrink
        top = np.maximum(blocks.max(axis=-1), 0) * shrink
        scales = ((top - bottom) / np.float32(high)).astype(np.float16)
        wide = scales.astype(np.float32)
        zeros = np.rint(np.divide(-bottom, wide, out=np.zeros_like(wide), where=wide != 0))
        zeros = np.clip(zeros, low, high).astype(np.int16)
    wide = scales.astype(np.float32)[..., None]
    steps = np.divide(blocks, wide, out=np.zeros_like(blocks), where=wide != 0)
    codes = np.clip(np.rint(steps) + zeros[..., None], low, high).astype(np.int16)
    return codes, scales, zeros


def _restore(codes: Array, scales: Array, zeros: Array) -> Array:
    """scale · (code - zero), exact in f32."""
    offsets = codes.astype(np.float32) - zeros.astype(np.float32)[..., None]
    return scales.astype(np.float32)[..., None] * offsets
