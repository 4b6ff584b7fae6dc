"""Tensors on the edge: a view of a buffer, a weight, an input or a state slot.

Reshapes, permutations, slices and expansions are views wherever strides can express them, so they
cost no instruction. Strides and offsets count elements and may depend on symbols.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from smelt.ir.dims import Size, exact_divide
from smelt.ir.types import DType

Sizes = tuple[Size, ...]


@dataclass(frozen=True)
class Value:
    """``storage`` (arena, weight, state, input) and ``index`` say where; the rest says how.

    ``opaque``: only ops that know packed weights or caches can look inside.
    """

    storage: str
    index: int
    dtype: DType
    shape: Sizes
    strides: Sizes
    offset: Size = 0
    opaque: bool = False

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Row-major without gaps; its offset may be anything."""
        return _same_strides(self.shape, self.strides, dense_strides(self.shape))

    @property
    def is_rows(self) -> bool:
        """Adjacent elements along the last axis, rows at one common distance."""
        if not self.shape or (self.shape[-1] != 1 and self.strides[-1] != 1):
            return False
        return merged(self.shape[:-1], self.strides[:-1]) is not None

    @property
    def has_dense_rows(self) -> bool:
        """Adjacent elements along the last axis."""
        return bool(self.shape) and (self.shape[-1] == 1 or self.strides[-1] == 1)


def dense_strides(shape: Sizes) -> Sizes:
    """Row-major strides."""
    strides: list[Size] = []
    step: Size = 1
    for size in reversed(shape):
        strides.append(step)
        step = step * size
    return tuple(reversed(strides))


def merged(shape: Sizes, strides: Sizes) -> Size | None:
    """The stride of these axes walked as one; None when they cannot be. No axes: 1."""
    found: Size | None = None
    expected: Size | None = None
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size == 1:
            continue
        if expected is not None and stride != expected:
            return None
        found = stride if found is None else found
        expected = stride * size
    return 1 if found is None else found


def permuted(x: Value, axes: tuple[int, ...]) -> Value:
    """The axes in another order."""
    return replace(
        x, shape=tuple(x.shape[a] for a in axes), strides=tuple(x.strides[a] for a in axes)
    )


def expanded(x: Value, shape: Sizes) -> Value:
    """Axes of size 1 repeated, and leading axes added."""
    extra = len(shape) - x.rank
    strides: list[Size] = [0] * extra
    for size, stride, wanted in zip(x.shape, x.strides, shape[extra:], strict=True):
        strides.append(stride if size == wanted else 0)
    return replace(x, shape=shape, strides=tuple(strides))


def sliced(x: Value, axis: int, start: Size, size: Size, step: int = 1) -> Value:
    """``size`` elements of an axis from ``start`` on, every ``step``-th."""
    shape, strides = list(x.shape), list(x.strides)
    offset = x.offset + start * strides[axis]
    shape[axis] = size
    strides[axis] = strides[axis] * step
    return replace(x, shape=tuple(shape), strides=tuple(strides), offset=offset)


def reshaped(x: Value, shape: Sizes) -> Value | None:
    """The same elements in another shape; None where strides cannot say it."""
    if x.is_contiguous:
        return replace(x, shape=shape, strides=dense_strides(shape))
    old = [(n, s) for n, s in zip(x.shape, x.strides, strict=True) if n != 1]
    new = [n for n in shape if n != 1]
    strides: list[Size] = []
    while old or new:
        group = _group(old, new)
        if group is None:
            return None
        mine, theirs = group
        step = merged(tuple(n for n, _ in old[:mine]), tuple(s for _, s in old[:mine]))
        if step is None:
            return None
        run = []
        for size in reversed(new[:theirs]):
            run.append(step)
            step = step * size
        strides += reversed(run)
        old, new = old[mine:], new[theirs:]
    steps = iter(strides)
    return replace(x, shape=shape, strides=tuple(1 if n == 1 else next(steps) for n in shape))


def _group(old: list[tuple[Size, Size]], new: list[Size]) -> tuple[int, int] | None:
    """How many leading axes of each side have the same product; None when that cannot be told."""
    if not old or not new:
        return None
    mine = theirs = 1
    left, right = old[0][0], new[0]
    while left != right:
        if exact_divide(left, right) is not None and theirs < len(new):
            right = right * new[theirs]
            theirs += 1
        elif exact_divide(right, left) is not None and mine < len(old):
            left = left * old[mine][0]
            mine += 1
        else:
            return None
    return mine, theirs


def _same_strides(shape: Sizes, left: Sizes, right: Sizes) -> bool:
    return all(n == 1 or a == b for n, a, b in zip(shape, left, right, strict=True))
