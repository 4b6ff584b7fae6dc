"""A forecast step by step is what transformers generates: each value read from those before it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.parity.case import Case
from tests.parity.cases.time_series import LAGGED
from tests.parity.checkpoints import make
from tests.parity.reference import Array, undrawn
from tests.parity.runners import Reference

CLASSES = {
    "time_series_transformer": "TimeSeriesTransformerForPrediction",
    "informer": "InformerForPrediction",
    "autoformer": "AutoformerForPrediction",
}
STEPS = {"time_series_transformer": True, "informer": True, "autoformer": False}


@pytest.mark.parametrize("model_type", CLASSES)
def test_a_forecast_is_what_transformers_generates(model_type: str) -> None:
    config = {**LAGGED, "num_parallel_samples": 1}
    config |= {"label_length": 4, "moving_average": 5} if model_type == "autoformer" else {}
    case = Case(model_type, "time_series_prediction", CLASSES[model_type], "steps", config)
    made = make(case)
    random = np.random.default_rng(made.seed)
    past, ahead = LAGGED["context_length"] + max(LAGGED["lags_sequence"]), 5
    inputs = {
        "past_values": random.standard_normal((2, past)).astype(np.float32) + 4,
        "past_time_features": random.standard_normal((2, past, 2)).astype(np.float32),
        "past_observed_mask": np.ones((2, past), np.float32),
    }
    times = random.standard_normal((2, ahead, 2)).astype(np.float32)
    wanted = generated(made.model, {**inputs, "future_time_features": times})
    runner = Reference(made.directory, case.task)
    told = np.zeros((2, 0), np.float32)
    while told.shape[1] < ahead:
        known = {**inputs, "future_time_features": times}
        if STEPS[model_type]:
            # One row more than is known: no lag reaches its value.
            known["future_values"] = np.concatenate([told, np.zeros((2, 1), np.float32)], 1)
            known["future_time_features"] = times[:, : told.shape[1] + 1]
        found = runner.call("main", known)
        middle = found["params"][1] * found["scale"] + found["loc"]
        told = np.concatenate([told, middle[:, told.shape[1] :]], 1)
    np.testing.assert_allclose(told, wanted, atol=1e-4 * np.abs(wanted).max())


def generated(model: Any, inputs: dict[str, Array]) -> Array:
    """What ``generate`` gives when each value is the middle of its distribution."""
    import torch

    def middle(params: Any, loc: Any = None, scale: Any = None) -> Any:
        return SimpleNamespace(sample=lambda: params[1] * scale + loc)

    model.output_distribution = middle
    with undrawn():
        result = model.generate(**{name: torch.from_numpy(x) for name, x in inputs.items()})
    values: Array = result.sequences[:, 0].numpy()
    return values
