"""Every spec × task × odd tiny config × target agrees with transformers, cache included."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.parity.case import Case, all_cases
from tests.parity.reference import Held, reference
from tests.parity.runners import COLUMNS

Array = np.ndarray[Any, Any]

#: Of the largest absolute value.
TOLERANCE = 1e-4


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_agrees_with_transformers(case: Case, column: str, tmp_path: Path) -> None:
    expected = reference(case)
    runner = COLUMNS[column](expected.directory, case.task, tmp_path)
    for number, step in enumerate(expected.steps):
        actual = runner.call(step.function, step.inputs)
        for name, value in step.outputs.items():
            check(actual[name], value, step.real, f"{name} of call {number}")
    state = runner.read_state()
    for held in expected.held:
        check_state(state, held)


def check(actual: Array, expected: Array, real: Array | None, what: str) -> None:
    """Equal within the tolerance where it counts, and the same choice where that is clear."""
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, wants {expected.shape}"
    if real is not None and expected.ndim >= 2 and expected.shape[:2] == real.shape:
        actual, expected = actual[real], expected[real]
    limit = TOLERANCE * max(float(np.abs(expected).max()), 1e-3)
    worst = float(np.abs(actual - expected).max())
    assert worst <= limit, f"{what}: differs by {worst:.3g}, allowed {limit:.3g}"
    if what.startswith("logits") and expected.shape[-1] > 1:
        ranked = np.sort(expected, -1)
        clear = ranked[..., -1] - ranked[..., -2] > 2 * limit
        assert (actual.argmax(-1) == expected.argmax(-1))[clear].all(), f"{what}: another token"


def check_state(state: Mapping[str, Array], held: Held) -> None:
    """Each layer's slot holds what the layer of transformers does, as far back as that goes."""
    slots = [name for name in state if name.endswith(held.suffix)]
    assert len(slots) == len(held.values), f"{held.suffix}: slots {slots}"
    for name, expected in zip(slots, held.values, strict=True):
        actual = state[name]
        if held.real is not None:
            # transformers may keep a shared head once for each query head.
            expected = expected[:, :: max(expected.shape[1] // actual.shape[1], 1)]
        if held.real is None and actual.shape == np.swapaxes(expected, -1, -2).shape:
            # A matrix from keys to values, or the other way round.
            expected = expected if actual.shape == expected.shape else np.swapaxes(expected, -1, -2)
        elif held.real is None and actual.shape != expected.shape:
            # transformers keeps a convolution's newest input too, though no step reads it again.
            expected = expected[..., -actual.shape[-1] :]
        if held.real is not None:
            count = min(expected.shape[2], actual.shape[2])
            real = held.real[:, -count:]
            actual = np.moveaxis(actual[:, :, -count:], 2, 1)[real]
            expected = np.moveaxis(expected[:, :, -count:], 2, 1)[real]
        check(actual, expected, None, name)
