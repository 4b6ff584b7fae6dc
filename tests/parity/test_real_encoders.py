"""Encoders with published weights give the hidden states that transformers gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import smelt
from tests import models
from tests.parity.runners import COLUMNS

transformers = pytest.importorskip("transformers")

Array = np.ndarray[Any, Any]

#: The type of each model, and where it comes from.
MODELS: dict[str, tuple[str, Callable[[], Path]]] = {
    "minilm": ("bert", models.minilm),
    "rxnmapper": ("albert", models.rxnmapper),
}

#: Of the largest absolute value.
TOLERANCE = 1e-4


@cache
def expected(name: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """A padded batch of random words, and what transformers makes of it."""
    import torch

    model = transformers.AutoModel.from_pretrained(MODELS[name][1]()).eval()
    generator = np.random.default_rng(7)
    mask = (np.arange(23)[None] < np.array([[23], [9], [16]])).astype(np.int64)
    inputs = {
        "input_ids": generator.integers(1, model.config.vocab_size, mask.shape) * mask,
        "attention_mask": mask,
        "token_type_ids": generator.integers(0, 2, mask.shape) * mask,
    }
    with torch.no_grad():
        result = model(**{key: torch.from_numpy(value) for key, value in inputs.items()})
    names = ("last_hidden_state", "pooler_output")
    return inputs, {key: result[key].numpy() for key in names if result.get(key) is not None}


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", MODELS)
def test_hidden_states_are_those_of_transformers(
    name: str, column: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    try:
        directory = MODELS[name][1]()
    except models.ModelUnavailable as reason:
        pytest.skip(str(reason))
    inputs, wanted = expected(name)
    runner = COLUMNS[column](directory, "feature_extraction", tmp_path)
    outputs = runner.call("main", inputs)
    worst = 0.0
    for key, value in wanted.items():
        difference = float(np.abs(outputs[key] - value).max() / np.abs(value).max())
        worst = max(worst, difference)
        assert difference <= TOLERANCE, f"{key} differs by {difference:.2g} of the largest"
    record_property(f"figure {name} on {column}", f"{worst:.1e} of the largest value")


@pytest.mark.parametrize("column", [("torch", None), ("onnx", "ort"), ("edge", None)])
def test_sentence_model_cuts_long_texts_as_its_files_say(
    column: tuple[str, str | None], tmp_path: Path
) -> None:
    try:
        directory = models.minilm()
    except models.ModelUnavailable as reason:
        pytest.skip(str(reason))
    out = tmp_path / "out"
    smelt.compile(directory, target=column[0], dialect=column[1], out=out)
    session = smelt.open(out)
    # 256 tokens count, two of them special.
    long, cut = session.embed(["word " * 700, "word " * 254])
    assert np.abs(long - cut).max() < 1e-6
