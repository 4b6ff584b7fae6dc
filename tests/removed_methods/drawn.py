"""Weights that say various things: a function of names and shapes, the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.parity.removed.weights import weights


def drawn(shapes: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray[Any, Any]]:
    """Weights by name; every norm scales by about one, and layers outweigh embeddings."""
    found = weights({name: tuple(shape) for name, shape in shapes.items()})
    for name, array in found.items():
        if array.ndim == 1 and name.endswith(".weight") and not name.endswith("norm.weight"):
            found[name] = array + np.float32(1)
        elif array.ndim == 2 and "embed" not in name and "shared" not in name:
            found[name] = array * np.float32(1.5)
    return found


def fingerprint(made: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """A hash of all weights, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(made):
        found.update(name.encode() + made[name].tobytes())
    return found.hexdigest()
