"""Weight quantization: round to nearest, with a search for the scale that loses least.

The one definition of what `quantize_weight` computes; every backend only repacks its results. Rows
are taken a chunk at a time, so nothing beside the result grows with the weight.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from typing import Any

import numpy as np

from smelt.errors import CheckpointError

Array = np.ndarray[Any, Any]

#: Clipping ranges tried, as fractions of a group's own. With 4 bits losing a few far values buys
#: finer steps; more than the whole helps symmetric codes, which reach less far on one side.
SHRINKS = {4: (1.1, 1.05, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75), 8: (1.0,)}
#: Times that codes are rounded again to the scale that fits them best.
REFINEMENTS = 2
#: Elements of a chunk: its copies stay in the second-level cache.
CHUNK = 1 << 16
#: Elements read at a time, and threads that work on their chunks.
READ = CHUNK * 16
MAX_THREADS = 8


def quantize(w: Array, bits: int, group: int, symmetric: bool) -> tuple[Array, Array, Array]:
    """Codes [..., in], scales f16 and zeros [..., in/group] of weights w [..., in]."""
    return quantize_rows(lambda start, stop: w[start:stop], w.shape, bits, group, symmetric)


def quantize_rows(
    rows: Callable[[int, int], Array],
    shape: tuple[int, ...],
    bits: int,
    group: int,
    symmetric: bool,
) -> tuple[Array, Array, Array]:
    """``quantize`` of weights of which ``rows(start, stop)`` gives a part along the first axis.

    Of several clipping ranges each group takes the one with the least squared error. Symmetric: 4
    bits use codes 0..15 around zero 8, 8 bits use -127..127 around 0. Asymmetric: 0..2^bits-1.
    CheckpointError when a weight is not finite.
    """
    kind = np.int8 if bits == 8 and symmetric else np.uint8
    groups = (*shape[:-1], shape[-1] // group)
    codes, scales = np.empty(shape, kind), np.empty(groups, np.float16)
    zeros = np.empty(groups, kind)
    step = max(1, READ // max(1, prod(shape[1:])))
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        for start in range(0, shape[0], step):
            stop = min(start + step, shape[0])
            part = rows(start, stop).reshape(-1, group)
            into = (
                codes[start:stop].reshape(-1, group),
                scales[start:stop].reshape(-1),
                zeros[start:stop].reshape(-1),
            )
            work = partial(_fill, part, into, bits, symmetric)
            # The results are where they belong whichever thread is first.
            list(pool.map(work, range(0, len(part), CHUNK // group)))
    return codes, scales, zeros


def _fill(
    part: Array, into: tuple[Array, Array, Array], bits: int, symmetric: bool, first: int
) -> None:
    """Quantize one chunk of blocks [n, group] into its place."""
    there = slice(first, first + CHUNK // part.shape[1])
    # Groups along the second axis: every step is then one long run over memory.
    blocks = np.ascontiguousarray(part[there].T, dtype=np.float32)
    found = _search(blocks, bits, symmetric)
    codes, scales, zeros = into
    codes[there] = (found.steps() + found.zeros).T
    scales[there], zeros[there] = found.scales, found.zeros


def _search(blocks: Array, bits: int, symmetric: bool) -> _Best:
    """The choice with the least squared error of all tried, for blocks [group, n]."""
    if not np.isfinite(blocks).all():
        raise CheckpointError("a weight to quantize holds NaN or infinity")
    low, high = (-127, 127) if bits == 8 and symmetric else (0, 2**bits - 1)
    best = _Best(blocks, low, high)
    with np.errstate(over="ignore", invalid="ignore"):
        for scales, zeros in _starts(blocks, bits, symmetric):
            best.offer(scales, zeros)
        for _ in range(REFINEMENTS):
            best.offer(best.fitting_scales(), best.zeros)
    if np.isinf(best.error).any():
        raise CheckpointError("a weight to quantize is too large for a scale in f16")
    return best


class _Best:
    """The best scales and zeros [n] for each block so far, and their squared error."""

    def __init__(self, blocks: Array, low: int, high: int) -> None:
        self._blocks = blocks
        self._low, self._high = np.float32(low), np.float32(high)
        self._scratch = np.empty_like(blocks)
        count = blocks.shape[1]
        self.error = np.full(count, np.inf, np.float32)
        self.scales = np.zeros(count, np.float16)
        self.zeros = np.zeros(count, np.float32)

    def offer(self, scales: Array, zeros: Array) -> None:
        """Take these scales (as f16 holds them) and zeros for the blocks where they lose less."""
        stored = scales.astype(np.float16)
        lost = self._steps(stored, zeros)
        lost *= stored.astype(np.float32)
        lost -= self._blocks
        lost *= lost
        error = lost.sum(axis=0)
        better = error < self.error
        self.error = np.where(better, error, self.error)
        self.scales = np.where(better, stored, self.scales)
        self.zeros = np.where(better, zeros, self.zeros)

    def steps(self) -> Array:
        """code - zero [group, n] of the best choice; valid until the next call."""
        return self._steps(self.scales, self.zeros)

    def _steps(self, scales: Array, zeros: Array) -> Array:
        steps = self._scratch
        np.multiply(self._blocks, _inverse(scales.astype(np.float32)), out=steps)
        np.rint(steps, out=steps)
        np.maximum(steps, self._low - zeros, out=steps)
        np.minimum(steps, self._high - zeros, out=steps)
        return steps

    def fitting_scales(self) -> Array:
        """The scale that suits the codes chosen best: a least squares fit for each block."""
        steps = self.steps()
        product: Array = (steps * self._blocks).sum(axis=0)
        steps *= steps
        return product * _inverse(steps.sum(axis=0))


def _starts(blocks: Array, bits: int, symmetric: bool) -> Iterator[tuple[Array, Array]]:
    """Scales and zeros of each block's range, shrunk by each of the factors."""
    bottom, top = blocks.min(axis=0), blocks.max(axis=0)
    for shrink in map(np.float32, SHRINKS[bits]):
        if symmetric and bits == 8:
            peak = np.maximum(-bottom, top)
            yield peak * shrink / np.float32(127), np.zeros_like(top)
        elif symmetric:
            # Codes reach -8 but only +7, so the value of largest magnitude is given the code 0, and
            # the scale the sign that takes.
            peak = np.where(-bottom >= top, bottom, top)
            yield peak * shrink / np.float32(-8), np.full_like(top, 8)
        else:
            low, high = np.minimum(bottom, 0) * shrink, np.maximum(top, 0) * shrink
            scales = ((high - low) / np.float32(2**bits - 1)).astype(np.float16).astype(np.float32)
            zeros = np.rint(-low * _inverse(scales))
            yield scales, np.clip(zeros, 0, np.float32(2**bits - 1))


def _inverse(x: Array) -> Array:
    """1 / x, and 0 for 0."""
    with np.errstate(divide="ignore"):
        inverse: Array = np.float32(1) / x
    return np.where(x == 0, np.float32(0), inverse)
