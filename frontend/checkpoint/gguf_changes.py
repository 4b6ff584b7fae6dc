"""What GGUF changes in a tensor, undone: by the names that model_specs/gguf.toml uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from smelt.errors import CheckpointError
from smelt.frontend.checkpoint.tensors import Array

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Heads:
    """How many heads a model has, and how many of keys and values."""

    queries: int = 1
    keys: int = 1


@dataclass(frozen=True)
class Change:
    """How to undo one: the values, and the shape that they then have (the same where not said).

    rows_of: the first axis must be a multiple of this.
    """

    values: Callable[[Array, Heads], Array]
    shape: Callable[[Shape], Shape] = lambda shape: shape
    rows_of: Callable[[Heads], int] = lambda heads: 1

    def shape_of(self, shape: Shape, heads: Heads, place: str) -> Shape:
        """The shape after the change, refusing a tensor that it does not fit."""
        step = self.rows_of(heads)
        if not shape or shape[0] % step:
            raise CheckpointError(f"shape {list(shape)}: rows are not in {step} parts", place=place)
        return self.shape(shape)


def halves(values: Array, count: int) -> Array:
    """Rope's adjacent pairs of rows become its two halves, in each of ``count`` heads."""
    rows = values.reshape(count, values.shape[0] // count // 2, 2, *values.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2)).reshape(values.shape)


def by_head(values: Array, heads: Heads) -> Array:
    """All of q, all of k, all of v become q, k and v of one head after the other."""
    rows = values.reshape(3, heads.queries, values.shape[0] // heads.queries // 3, -1)
    return np.ascontiguousarray(rows.swapaxes(0, 1)).reshape(values.shape)


CHANGES: dict[str, Change] = {
    "halves_of_heads": Change(
        lambda values, heads: halves(values, heads.queries), rows_of=lambda heads: 2 * heads.queries
    ),
    "halves_of_key_heads": Change(
        lambda values, heads: halves(values, heads.keys), rows_of=lambda heads: 2 * heads.keys
    ),
    "by_head": Change(by_head, rows_of=lambda heads: 3 * heads.queries),
    # Gemma's norms are stored with one added.
    "minus_one": Change(lambda values, heads: np.subtract(values, 1, dtype=values.dtype)),
    # A linear layer of one output loses that axis.
    "one_row": Change(lambda values, heads: values.reshape(1, -1), lambda shape: (1, *shape[-1:])),
    "one_channel": Change(
        lambda values, heads: values.reshape(values.shape[0], 1, -1),
        lambda shape: (shape[0], 1, *shape[1:]),
    ),
    "transposed": Change(
        lambda values, heads: np.ascontiguousarray(values.T), lambda shape: shape[::-1]
    ),
    "log_of_negative": Change(lambda values, heads: np.log(-values)),
    "flat": Change(lambda values, heads: values.reshape(-1), lambda shape: (prod(shape),)),
    "flat_log_of_negative": Change(
        lambda values, heads: np.log(-values).reshape(-1), lambda shape: (prod(shape),)
    ),
}
