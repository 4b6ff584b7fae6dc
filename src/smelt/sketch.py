"""Small summaries of large arrays, stored in an artifact so that it can be checked without its
source.

A sketch projects the last axis onto a few fixed ±1 vectors: an error of one element shows as large
in
the sketch as it is, and 49 152 logits become four numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

WIDTH = 4
MOST = 65_536


def sketch(array: Array) -> Array:
    """[.., n] → f32 [.., 4] when n is large, then every k-th element when there are too many."""
    values = np.asarray(array, np.float32)
    if values.ndim and values.shape[-1] > 2 * WIDTH:
        with np.errstate(over="ignore"):  # a damaged weight may give values beyond f32
            values = (values.astype(np.float64) @ _signs(values.shape[-1])).astype(np.float32)
    flat = values.reshape(-1)
    return flat[:: max(1, -(-flat.size // MOST))].copy()


def _signs(size: int) -> Array:
    return np.random.default_rng(size).choice(np.array([-1.0, 1.0]), (size, WIDTH))
