"""Weights of a stored case: a function of tensor names and shapes, the same everywhere."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

GAIN = 1.5
NOISE = 0.3


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray[Any, Any]]:
    """Random values that a mistake would show in: norms and biases too."""
    return {name: _drawn(name, tuple(shape)) for name, shape in shapes.items()}


def _drawn(name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    # RandomState's streams are frozen: newer versions of numpy draw the same numbers.
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    is_norm = name.endswith("norm.weight")
    gain = GAIN * shape[-1] ** -0.5 if len(shape) > 1 else NOISE
    return (noise * gain + (1.0 if is_norm else 0.0)).astype(np.float32)
